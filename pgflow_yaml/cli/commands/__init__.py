"""The commands, one per module of its name; a module is imported when its command runs."""
