"""The commands: a module holds one or a few, and is imported when one of them runs."""
