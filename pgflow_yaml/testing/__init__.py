"""Tests of flows: run the cases of `*.test.yaml` files in virtual time on a temporary database."""
