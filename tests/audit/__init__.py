"""The audit of what users install with the package. Run by `make audit` only."""
