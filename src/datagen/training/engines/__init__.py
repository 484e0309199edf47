"""Who samples: a model in this process, or a server."""
