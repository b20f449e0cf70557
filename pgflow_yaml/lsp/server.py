"""The server: requests of an editor, each answered by the module of its question."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from lsprotocol import types
from pygls import uris
from pygls.exceptions import JsonRpcException
from pygls.lsp.server import LanguageServer

from pgflow_yaml.errors import PgflowError
from pgflow_yaml.language.positions import Lines
from pgflow_yaml.language.source import MappingNode, parse
from pgflow_yaml.lsp import completions, definitions, hovers
from pgflow_yaml.lsp.positions import Positions
from pgflow_yaml.lsp.project import Project, is_ours
from pgflow_yaml.lsp.symbols import symbols

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pgflow_yaml.errors import Diagnostic
    from pgflow_yaml.language.source import Document
    from pgflow_yaml.lsp.definitions import Location

QUIET = 0.1
"""Seconds without a change after which a text is checked."""
_REFUSED = types.LSPErrorCodes.RequestFailed.value
_KINDS = {
    "key": types.CompletionItemKind.Property,
    "word": types.CompletionItemKind.EnumMember,
    "step": types.CompletionItemKind.Reference,
    "input": types.CompletionItemKind.Field,
    "flow": types.CompletionItemKind.File,
    "handler": types.CompletionItemKind.Module,
    "name": types.CompletionItemKind.Variable,
    "function": types.CompletionItemKind.Function,
}


class _Pointing(Protocol):
    """The parameters of each request about a place."""

    text_document: types.TextDocumentIdentifier
    position: types.Position


@dataclass(frozen=True, slots=True)
class Pointed:
    """The place that a request is about: an index in the text of an open file."""

    document: Document
    offset: int
    file: Path


class Server(LanguageServer):
    """State of one editor: its open files, and the last readable trees."""

    def __init__(self) -> None:
        """Begin without files; texts come whole, so that no edit can be misread."""
        super().__init__("pgflow-yaml", version("pgflow-yaml"), types.TextDocumentSyncKind.Full)
        self.readable: dict[str, MappingNode] = {}

    def open_texts(self) -> dict[Path, str]:
        """Return the text of each open file by its path."""
        opened = self.workspace.text_documents
        return {path_of(uri): text.source.removeprefix("\ufeff") for uri, text in opened.items()}

    def project(self) -> Project:
        """Return the files around the open ones."""
        folders = [path_of(folder.uri) for folder in self.workspace.folders.values()]
        if not folders and self.workspace.root_uri:
            folders = [path_of(self.workspace.root_uri)]
        return Project(folders, self.open_texts())

    def document(self, uri: str) -> Document | None:
        """Return the tree of an open file; None if it is none of ours."""
        path = path_of(uri)
        text = self.open_texts().get(path)
        if text is None or not is_ours(path, text):
            return None
        document = parse(text)
        if isinstance(document.root, MappingNode):
            self.readable[uri] = document.root
        return document

    def positions(self, lines: Lines) -> Positions:
        """Return the positions of a text, as this editor counts."""
        return Positions(lines, self.workspace.position_encoding)

    def pointed(self, params: _Pointing) -> Pointed | None:
        """Return the place that a request is about; None in a file that is none of ours."""
        document = self.document(params.text_document.uri)
        if document is None:
            return None
        offset = self.positions(document.lines).offset(params.position)
        return Pointed(document, offset, path_of(params.text_document.uri))

    def uri(self, path: Path) -> str:
        """Return the address of a file, as the editor wrote it if it is open."""
        opened = {path_of(uri): uri for uri in self.workspace.text_documents}
        return opened.get(path) or path.as_uri()

    def location(self, place: Location) -> types.Location:
        """Return a place as the protocol writes it."""
        at = self.positions(place.lines).range(place.start, place.end)
        return types.Location(uri=self.uri(place.file), range=at)

    def check(self, only: str | None = None) -> None:
        """Check the open files, or one of them, and publish their findings."""
        project = self.project()
        for uri, opened in list(self.workspace.text_documents.items()):
            if only not in {None, uri}:
                continue
            path = path_of(uri)
            text = project.opened[path]
            found = project.findings(path) if self.document(uri) else ()
            positions = self.positions(Lines(text))
            self.text_document_publish_diagnostics(
                types.PublishDiagnosticsParams(
                    uri=uri,
                    version=opened.version,
                    diagnostics=[_diagnostic(each, positions) for each in found],
                )
            )


def path_of(uri: str) -> Path:
    """Return the path of an address; the address itself where it is no file, as in a new tab."""
    return Path(uris.to_fs_path(uri) or uri)


def _diagnostic(finding: Diagnostic, positions: Positions) -> types.Diagnostic:
    severity = types.DiagnosticSeverity
    help_ = f"\nhelp: {finding.help}" if finding.help else ""
    return types.Diagnostic(
        range=positions.of_span(finding.span),
        message=finding.message + help_,
        severity=severity.Error if finding.severity == "error" else severity.Warning,
        code=finding.code or None,
        source="pgflow-yaml",
    )


server = Server()


@server.feature(types.TEXT_DOCUMENT_DID_OPEN)
def did_open(ls: Server, params: types.DidOpenTextDocumentParams) -> None:
    """Check at once."""
    ls.check(params.text_document.uri)


@server.feature(types.TEXT_DOCUMENT_DID_SAVE)
def did_save(ls: Server, _params: types.DidSaveTextDocumentParams) -> None:
    """Check all: what is saved may be the child of an open flow, or the flow of an open test."""
    ls.check()


@server.feature(types.TEXT_DOCUMENT_DID_CHANGE)
async def did_change(ls: Server, params: types.DidChangeTextDocumentParams) -> None:
    """Check a text QUIET seconds after its last change."""
    await asyncio.sleep(QUIET)
    document = ls.workspace.text_documents.get(params.text_document.uri)
    if document is not None and document.version == params.text_document.version:
        ls.check(document.uri)


@server.feature(types.TEXT_DOCUMENT_DID_CLOSE)
def did_close(ls: Server, params: types.DidCloseTextDocumentParams) -> None:
    """Remove the findings of a file that was closed."""
    uri = params.text_document.uri
    ls.readable.pop(uri, None)
    ls.text_document_publish_diagnostics(types.PublishDiagnosticsParams(uri=uri, diagnostics=[]))


@server.feature(
    types.TEXT_DOCUMENT_COMPLETION,
    types.CompletionOptions(trigger_characters=[".", ":", " ", "{", "[", "-"]),
)
def completion(ls: Server, params: types.CompletionParams) -> types.CompletionList | None:
    """Offer what can stand at the cursor."""
    at = ls.pointed(params)
    if at is None:
        return None
    items = completions.complete(
        at.document.text,
        at.offset,
        file=at.file,
        project=ls.project(),
        readable=ls.readable.get(params.text_document.uri),
    )
    positions = ls.positions(at.document.lines)
    return types.CompletionList(
        is_incomplete=any(item.kind == "handler" for item in items),
        items=[
            types.CompletionItem(
                label=item.text.rstrip(": ("),
                kind=_KINDS[item.kind],
                documentation=item.detail or None,
                filter_text=item.text,
                text_edit=types.TextEdit(positions.range(item.start, item.end), item.text),
            )
            for item in items
        ],
    )


@server.feature(types.TEXT_DOCUMENT_HOVER)
def hover(ls: Server, params: types.HoverParams) -> types.Hover | None:
    """Explain what is below the pointer."""
    at = ls.pointed(params)
    if at is None:
        return None
    found = hovers.hover(at.document, at.offset, file=at.file, project=ls.project())
    if found is None:
        return None
    text, start, end = found
    return types.Hover(
        contents=types.MarkupContent(types.MarkupKind.Markdown, text),
        range=ls.positions(at.document.lines).range(start, end),
    )


@server.feature(types.TEXT_DOCUMENT_DEFINITION)
def definition(ls: Server, params: types.DefinitionParams) -> types.Location | None:
    """Lead to the step, the input field, the flow file or the Python function."""
    at = ls.pointed(params)
    if at is None:
        return None
    place = definitions.definition(at.document, at.offset, file=at.file, project=ls.project())
    return None if place is None else ls.location(place)


@server.feature(types.TEXT_DOCUMENT_REFERENCES)
def references(ls: Server, params: types.ReferenceParams) -> list[types.Location]:
    """List the places of a step or an input field in its file."""
    at = ls.pointed(params)
    if at is None:
        return []
    return [
        ls.location(each) for each in definitions.references(at.document, at.offset, file=at.file)
    ]


@server.feature(types.TEXT_DOCUMENT_PREPARE_RENAME)
def prepare_rename(ls: Server, params: types.PrepareRenameParams) -> types.Range | None:
    """Return the range of the step's name, or None where there is none."""
    at = ls.pointed(params)
    if at is None:
        return None
    name = definitions.renamable(at.document, at.offset, file=at.file)
    return ls.positions(at.document.lines).range(name.start, name.end) if name else None


@server.feature(types.TEXT_DOCUMENT_RENAME, types.RenameOptions(prepare_provider=True))
def rename(ls: Server, params: types.RenameParams) -> types.WorkspaceEdit | None:
    """Rename a step in its file and in the tests of its flow."""
    at = ls.pointed(params)
    if at is None:
        return None
    try:
        places = definitions.rename(
            at.document, at.offset, params.new_name, file=at.file, project=ls.project()
        )
    except PgflowError as error:
        raise JsonRpcException(error.message, code=_REFUSED) from error
    return types.WorkspaceEdit(changes=_edits(ls, places, params.new_name))


@server.feature(types.TEXT_DOCUMENT_DOCUMENT_SYMBOL)
def document_symbol(ls: Server, params: types.DocumentSymbolParams) -> list[types.DocumentSymbol]:
    """Return the outline of a flow file."""
    document = ls.document(params.text_document.uri)
    return symbols(document, ls.positions(document.lines)) if document else []


@server.feature(
    types.TEXT_DOCUMENT_CODE_ACTION,
    types.CodeActionOptions(code_action_kinds=[types.CodeActionKind.QuickFix]),
)
def code_action(ls: Server, params: types.CodeActionParams) -> list[types.CodeAction]:
    """Offer the fix of each finding in the range that has one to write."""
    uri = params.text_document.uri
    document = ls.document(uri)
    if document is None:
        return []
    positions = ls.positions(document.lines)
    return [
        types.CodeAction(
            title=finding.help or f"write {finding.replacement.text}",
            kind=types.CodeActionKind.QuickFix,
            diagnostics=[_diagnostic(finding, positions)],
            edit=types.WorkspaceEdit(
                changes={
                    uri: [
                        types.TextEdit(
                            positions.of_span(finding.replacement.span), finding.replacement.text
                        )
                    ]
                }
            ),
        )
        for finding in ls.project().findings(path_of(uri))
        if finding.replacement is not None
        and _overlap(positions.of_span(finding.span), params.range)
    ]


def _overlap(one: types.Range, other: types.Range) -> bool:
    return _key(one.start) <= _key(other.end) and _key(other.start) <= _key(one.end)


def _key(position: types.Position) -> tuple[int, int]:
    return position.line, position.character


def _edits(
    ls: Server, places: Iterable[Location], text: str
) -> dict[str, Sequence[types.TextEdit]]:
    changes: dict[str, list[types.TextEdit]] = {}
    for place in places:
        at = ls.location(place)
        changes.setdefault(at.uri, []).append(types.TextEdit(at.range, text))
    return dict(changes)
