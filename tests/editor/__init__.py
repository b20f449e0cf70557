"""What an editor shows: asked of the YAML language server. Run by `make test-editor` only."""
