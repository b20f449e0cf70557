"""Tests of flows: `*.test.yaml` files, played in virtual time on a database thrown away after."""
