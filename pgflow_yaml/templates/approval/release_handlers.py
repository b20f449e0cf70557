"""The functions of release.flow.yaml."""

import json
from pathlib import Path

RECORD = Path(".pgflow/out/releases.jsonl")


def prepare(version: str) -> str:
    """Write the release notes."""
    return f"release {version}: nothing but improvements"


def publish(notes: str, approved_by: str) -> str:
    """Publish the release."""
    return f"{notes} (approved by {approved_by})"


def withdraw(reason: str) -> str:
    """Notify the users."""
    return f"not released: {reason}"


def record(version: str, published: bool) -> None:
    """Record the outcome."""
    RECORD.parent.mkdir(parents=True, exist_ok=True)
    with RECORD.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"version": version, "published": published}) + "\n")
