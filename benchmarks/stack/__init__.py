"""The whole service as real processes, with jobs as small as they can be: what `chaos` and `queueing` work on."""
