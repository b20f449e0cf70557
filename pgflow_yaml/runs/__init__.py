"""A run as data, pure: its snapshot, and what follows from it, for any screen to lay out."""
