"""The web view in a browser; run by `make test-web`."""
