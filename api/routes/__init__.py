"""The routes, a module per noun. They are thin: validate, call, answer."""
