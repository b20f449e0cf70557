"""A client of the language server protocol: as much of it as these tests need."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

from tests.editor.install import MAIN
from tests.fixtures.npm import node

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SETTINGS = {
    "yaml": {
        "validate": True,
        "hover": True,
        "completion": True,
        "schemaStore": {"enable": False},
    }
}


class Server:
    """The YAML language server over stdio, or another one, opened on a folder."""

    def __init__(self, folder: Path, command: Sequence[str] = ()) -> None:
        self.folder = folder
        self._next = 0
        self._opened: dict[str, Path] = {}
        self.found: dict[str, list[dict[str, Any]]] = {}
        self._process = subprocess.Popen(
            [*command] or [str(node()), str(MAIN), "--stdio"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        completion = {"completionItem": {"snippetSupport": True}}
        hover = {"contentFormat": ["markdown"]}
        self.ask(
            "initialize",
            {
                "processId": None,
                "rootUri": folder.as_uri(),
                "workspaceFolders": [{"uri": folder.as_uri(), "name": "project"}],
                "capabilities": {
                    "textDocument": {"completion": completion, "hover": hover},
                    "workspace": {"configuration": True},
                },
            },
        )
        self.tell("initialized", {})
        self.tell("workspace/didChangeConfiguration", {"settings": SETTINGS})

    def close(self) -> None:
        """End the server."""
        self._process.kill()
        self._process.communicate()

    def open(self, name: str, text: str) -> list[dict[str, Any]]:
        """Open a file as an editor does; the findings that come for it.

        Each time as another file: what the server remembers of a name plays no part.
        """
        path = self._opened[name] = self.folder / f"{len(self._opened)}-{self._next}-{name}"
        path.write_text(text, encoding="utf-8")
        uri = path.as_uri()
        self._next += 1
        document = {"uri": uri, "languageId": "yaml", "version": 1, "text": text}
        self.tell("textDocument/didOpen", {"textDocument": document})
        while uri not in self.found:
            self._receive()
        return self.found[uri]

    def show(self, name: str, text: str, *, version: int = 1) -> list[dict[str, Any]]:
        """Open a file, or change its text without saving it; the findings that come for it."""
        uri = (self.folder / name).as_uri()
        self.found.pop(uri, None)
        self._opened[name] = self.folder / name
        document = {"uri": uri, "languageId": "yaml", "version": version, "text": text}
        if version == 1:
            self.tell("textDocument/didOpen", {"textDocument": document})
        else:
            changes = {"textDocument": document, "contentChanges": [{"text": text}]}
            self.tell("textDocument/didChange", changes)
        while uri not in self.found:
            self._receive()
        return self.found[uri]

    def hide(self, name: str) -> None:
        """Close a file that `show` has opened; its findings are withdrawn."""
        document = self.at(name, 0, 0)["textDocument"]
        self.found.pop(document["uri"], None)
        self.tell("textDocument/didClose", {"textDocument": document})
        while document["uri"] not in self.found:
            self._receive()

    def at(self, name: str, line: int, column: int) -> dict[str, Any]:
        """The parameters of a question about a place."""
        return self._at(name, line, column)

    def complete(self, name: str, line: int, column: int) -> list[dict[str, Any]]:
        """What is offered at a place; lines and columns count from 0."""
        reply = self.ask("textDocument/completion", self._at(name, line, column))
        items: list[dict[str, Any]] = reply["items"] if isinstance(reply, dict) else reply or []
        return items

    def hover(self, name: str, line: int, column: int) -> str:
        """What is shown at a place."""
        reply = self.ask("textDocument/hover", self._at(name, line, column))
        return str(reply["contents"]["value"]) if reply else ""

    def ask(self, method: str, params: dict[str, Any]) -> Any:
        """Send a request; its result."""
        self._next += 1
        number = self._next
        self._send({"id": number, "method": method, "params": params})
        while True:
            message = self._receive()
            if message.get("id") == number and "method" not in message:
                assert "error" not in message, message
                return message["result"]

    def tell(self, method: str, params: dict[str, Any]) -> None:
        """Send a notification."""
        self._send({"method": method, "params": params})

    def _at(self, name: str, line: int, column: int) -> dict[str, Any]:
        uri = self._opened[name].as_uri()
        return {"textDocument": {"uri": uri}, "position": {"line": line, "character": column}}

    def _send(self, message: dict[str, Any]) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        assert self._process.stdin is not None
        self._process.stdin.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        self._process.stdin.flush()

    def _receive(self) -> dict[str, Any]:
        """Read one message; requests of the server are answered, findings are kept."""
        out = self._process.stdout
        assert out is not None
        size = 0
        while (line := out.readline()).strip():
            name, _, value = line.partition(b":")
            size = int(value) if name.lower() == b"content-length" else size
        assert size, "the language server has ended"
        message: dict[str, Any] = json.loads(out.read(size))
        if "id" in message and "method" in message:
            self._send({"id": message["id"], "result": self._answer(message)})
        elif message.get("method") == "textDocument/publishDiagnostics":
            params = message["params"]
            self.found[params["uri"]] = params["diagnostics"]
        return message

    def _answer(self, request: dict[str, Any]) -> Any:
        if request["method"] != "workspace/configuration":
            return None
        return [SETTINGS.get(item.get("section", "")) for item in request["params"]["items"]]
