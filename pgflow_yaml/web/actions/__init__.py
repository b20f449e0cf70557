"""The actions: one module each; `routes.py` says how to add one."""
