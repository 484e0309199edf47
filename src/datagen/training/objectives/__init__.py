"""Losses and advantages as pure functions over arrays; nothing here knows a model, a file or a process."""
