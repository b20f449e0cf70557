"""The engine, driven through its SQL doors."""
