"""Protocols that others wrote: what their requests and answers look like, and how our models speak them.

The routes that use them are `api.routes.oip` and `api.routes.openai`; both ask `api.predictions` like our own route.
"""
