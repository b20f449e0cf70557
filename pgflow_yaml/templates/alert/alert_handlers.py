"""The functions of alert.flow.yaml: each of them reaches people, or raises and is tried again."""

import json
import smtplib
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

NOTES = Path(".pgflow/out/alerts.txt")


def note(text: str) -> None:
    """Write a line to a file."""
    NOTES.parent.mkdir(parents=True, exist_ok=True)
    with NOTES.open("a", encoding="utf-8") as file:
        file.write(" ".join(text.split()) + "\n")


def webhook(url: str, event: Any, ctx: Any) -> str:
    """Post JSON to an address; the key is the same in each attempt."""
    headers = {"Content-Type": "application/json", "Idempotency-Key": ctx.idempotency_key}
    with urlopen(Request(url, json.dumps(event).encode(), headers), timeout=10) as reply:
        return f"{reply.status} {reply.reason}"


def slack(hook: str, text: str, ctx: Any) -> str:
    """Write to a channel of Slack, Mattermost or another that takes Slack's messages."""
    for character, name in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(character, name)
    return webhook(hook, {"text": text}, ctx)


def email(
    *,
    server: str,
    sender: str,
    to: list[str],
    subject: str,
    text: str,
    password: str = "",
    port: int = 587,
) -> None:
    """Send a mail; with a password, encrypted and as the sender."""
    message = EmailMessage()
    message["From"], message["To"] = sender, ", ".join(to)
    message["Subject"] = " ".join(subject.split())
    message.set_content(text)
    with smtplib.SMTP(server, port, timeout=10) as smtp:
        if password:
            smtp.starttls()
            smtp.login(sender, password)
        smtp.send_message(message)
