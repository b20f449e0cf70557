"""A project on disk: its flow files, its settings, and git's view of them."""
