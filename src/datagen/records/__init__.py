"""The nouns of the system and their published schemas. Nothing here imports another part of the project."""
