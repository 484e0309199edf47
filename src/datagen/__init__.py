"""Datagen."""
