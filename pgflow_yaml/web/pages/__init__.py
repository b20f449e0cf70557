"""The pages: one module each; `routes.py` says how to add one."""
