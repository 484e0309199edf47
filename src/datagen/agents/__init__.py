"""Roles, and who plays them."""
