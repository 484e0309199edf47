"""Pages: where they come from, how they are read, frozen, indexed, and reached through two tools."""
