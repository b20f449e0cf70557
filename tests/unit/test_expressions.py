"""The expression language without a database: values, trees, templates and every finding."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgflow_yaml.language.codes import codes
from pgflow_yaml.language.expressions import (
    ExpressionError,
    InvalidExpression,
    evaluate,
    misused_secrets,
    parse_expression,
    parse_template,
    unescape,
)
from tests import expression_trees
from tests.expression_cases import CASES, ENV, ROOTS, Case
from tests.fixtures.effort import examples, patient

FINDINGS: list[tuple[str, list[tuple[str, str, str]]]] = [
    # text, then for each finding: what is underlined, code, words of message or help
    (
        "input.x == 7 && true || !input.y",
        [("&&", "PF210", "`and`"), ("||", "PF210", "`or`"), ("!", "PF210", "`not`")],
    ),
    ("a && b", [("a", "PF214", "`a`"), ("&&", "PF210", "`and`"), ("b", "PF214", "`b`")]),
    ("!input.x", [("!", "PF210", "`not`")]),
    ("input.x AND true", [("AND", "PF210", "write `and`")]),
    ("NOT input.x", [("NOT", "PF210", "write `not`")]),
    ("input.x ? 'a' : 'b'", [("?", "PF210", "write `'a' if input.x else 'b'`")]),
    ("[input.x ? 1 : 2]", [("?", "PF210", "write `1 if input.x else 2`")]),
    ("input.x ? 1 : input.y ? 2 : 3", [("?", "PF210", "? :"), ("?", "PF210", "? :")]),
    ("input.x === 1", [("===", "PF210", "`==`")]),
    ("input.x !== 1", [("!==", "PF210", "`!=`")]),
    ("input.x <> 1", [("<>", "PF210", "`!=`")]),
    ("input.x ?? 1", [("??", "PF210", "default(value, fallback)")]),
    ("input?.x", [("?.", "PF210", "null already")]),
    ("input.x | len", [("|", "PF210", "len(value)"), ("len", "PF214", "a function is called")]),
    ("input.x & 1", [("&", "PF210", "`and`")]),
    ("input.x = 1", [("=", "PF211", "`==`")]),
    ("input.name.lower()", [("lower", "PF212", "lower(input.name), not input.name.lower()")]),
    ("input.a.split(',')", [("split", "PF212", "write split(input.a), not")]),
    ("','.join(input.a)", [("join", "PF212", "write join(list, ',')")]),
    ("input.a.includes(1)", [("includes", "PF212", "`part in input.a`")]),
    ("input.a.get('x')", [("get", "PF212", 'input.a["key"]')]),
    ("input.a.toUpperCase()", [("toUpperCase", "PF212", "upper(input.a)")]),
    ("input.a.append(1)", [("append", "PF212", "functions stand before")]),
    ("x.lower()", [("x", "PF214", "no name"), ("lower", "PF212", "lower(x), not x.lower()")]),
    ("lenn(input.x)", [("lenn", "PF213", "did you mean len()?")]),
    ("length(input.x)", [("length", "PF213", "did you mean len()?")]),
    ("contains(input.x, 1)", [("contains", "PF213", "part in whole")]),
    ("eval('1')", [("eval", "PF213", "no function eval()")]),
    ("__import__('os')", [("__import__", "PF213", "no function")]),
    ("input.f[0](1)", [("input.f[0]", "PF213", "only a function can be called")]),
    ("inptu.x", [("inptu", "PF214", "did you mean `input`?")]),
    ("premium", [("premium", "PF214", 'write "premium" if it is a text')]),
    ("NULL", [("NULL", "PF214", "write null")]),
    ("[u.x for u in input.a] + u", [("u", "PF214", "no name `u`")]),
    ("[usr.x for user in input.a]", [("usr", "PF214", "did you mean `user`?")]),
    ("steps", [("steps", "PF215", "steps.NAME.output")]),
    ("steps.a", [("steps.a", "PF215", "write steps.a.output")]),
    ("steps.a.outptu.x", [("steps.a.outptu", "PF215", "did you mean steps.a.output?")]),
    ("steps.a.rows", [("steps.a.rows", "PF215", "write steps.a.output.rows")]),
    ("steps['x-y'].output", [("steps['x-y']", "PF215", "write steps.x_y")]),
    ("steps[input.n].output", [("steps[input.n]", "PF215", "write steps.NAME")]),
    ("steps.a['output']", [("steps.a['output']", "PF215", "write steps.a.output")]),
    ("steps.a[0]", [("steps.a[0]", "PF215", "write steps.a.output[0]")]),
    ("run['flow']", [("run['flow']", "PF215", "write run.flow")]),
    ("steps.a.outcome", [("steps.a.outcome", "PF215", "write steps.a.status")]),
    ("steps.a.result", [("steps.a.result", "PF215", "steps.a.output for what it returned")]),
    ("steps.a.b.output", [("steps.a.b", "PF215", "a step's name has no dot")]),
    ("needs.*.result", [("*", "PF216", "run.failed")]),
    ("input.n ~ 'a'", [("~", "PF216", "join texts with `+`")]),
    ("input.n |> len", [("|>", "PF210", "a function is called"), ("len", "PF214", "len(value)")]),
    ("fromJson(input.n)", [("fromJson", "PF213", "did you mean json()?")]),
    ("workflow.name", [("workflow.name", "PF214", "write run.flow")]),
    ("parent.taskrun.value", [("parent", "PF214", "write input.NAME")]),
    ("sprig.x", [("sprig", "PF214", "the names known here are")]),
    ("input.a¹", [("input.a¹", "PF215", "write input.a1")]),
    ("steps['x'].output", [("steps['x']", "PF215", "write steps.x")]),
    ("run", [("run", "PF215", "write run.id")]),
    ('f"{input.x}"', [("f", "PF216", "f-strings")]),
    ('r"a"', [("r", "PF216", "no prefix")]),
    ("lambda: 1", [("lambda", "PF216", "not part")]),
    ("(x := 1)", [("x", "PF214", "no name"), (":=", "PF216", "assigns")]),
    ("2 ** 3", [("**", "PF216", "`*`")]),
    ("7 // 2", [("//", "PF216", "int(a / b)")]),
    ("input.x is null", [("is", "PF216", "`==`")]),
    ("input.x is not null", [("is", "PF216", "`!=` for `is not`")]),
    ("[*input.x]", [("*input.x", "PF216", "join lists with `+`")]),
    ("{**input.x}", [("input.x", "PF216", "merge(a, b)")]),
    ("input.a[1:2]", [("input.a[1:2]", "PF216", "no slices")]),
    ("(1, 2)", [("(1, 2)", "PF216", "[a, b]")]),
    ("{1, 2}", [("{1, 2}", "PF216", "[a, b]")]),
    ("{{ input.x }}", [("{{ input.x }}", "PF216", "leave out the `{{ }}`")]),
    ("{a: 1}", [("a", "PF216", 'write "a"')]),
    ("any(x for x in input.a)", [("(x for x in input.a)", "PF216", "put [ ] around it")]),
    ("{x for x in input.a}", [("{x for x in input.a}", "PF216", "no sets")]),
    ("{x: 1 for x in input.a}", [("{x: 1 for x in input.a}", "PF216", "loop")]),
    ("sorted(input.a, reverse=true)", [("reverse=true", "PF216", "no names here")]),
    ("+input.x", [("+input.x", "PF216", "leave it out")]),
    ("input.rows.0", [("0", "PF216", "write [0]")]),
    ("1 ^ 2", [("^", "PF216", "+ - * / %")]),
    ("1 @ 2", [("@", "PF216", "+ - * / %")]),
    ("1 << 2", [("<<", "PF216", "+ - * / %")]),
    ("input.x -> 1", [("->", "PF216", "a key")]),
    ("[...]", [("...", "PF216", "join lists")]),
    ("await input.x", [("await", "PF216", "leave it out")]),
    ("~1", [("~", "PF216", "`not`")]),
    ("input.a => 1", [("=>", "PF216", "`>=` compares")]),
    ("$input.x", [("$", "PF219", "input.name")]),
    ("`a`", [("`", "PF219", "quotes"), ("a", "PF214", ""), ("`", "PF219", "quotes")]),
    ("input.x € 1", [("€", "PF219", "no meaning"), ("1", "PF219", "operator is missing")]),
    ("input.x; 1", [(";", "PF216", "one expression")]),
    ("(1 + 2", [("(", "PF217", "never closed")]),
    ("1 + 2)", [(")", "PF217", "never opened")]),
    ("[1, (2]", [("(", "PF217", "close it with `)`")]),
    ("len(input.a]", [("(", "PF217", "close it"), ("]", "PF217", "never opened")]),
    ('"abc', [('"abc', "PF218", "not closed")]),
    ('"a\\d"', [("\\d", "PF218", "two backslashes")]),
    ('"\\x00"', [("\\x00", "PF218", "cannot hold")]),
    ('"\\ud800"', [("\\ud800", "PF218", "cannot hold")]),
    ('"""a"""', [('"""a"""', "PF218", "one quote")]),
    ("“a”", [("“", "PF219", "typographic"), ("a", "PF214", ""), ("”", "PF219", "typographic")]),
    ("", [("", "PF219", "empty")]),
    ("1 +", [("+", "PF219", "something is missing after this")]),
    ("1 + * 2", [("*", "PF219", "does not fit here")]),
    ("input.x input.y", [("input", "PF219", "an operator is missing")]),
    ('"a" "b"', [('"b"', "PF219", "join texts with `+`")]),
    ('[1] "a"', [('"a"', "PF219", "join texts with `+`")]),
    ("1 if input.x", [("1 if input.x", "PF219", "`else`")]),
    ("input.x # why", [("# why", "PF219", "comment")]),
    ("input.x\u00a0== 1", [("\u00a0", "PF219", "NO-BREAK SPACE")]),
    ("len()", [("len()", "PF221", "write len(value)")]),
    ("len(1, 2)", [("len(1, 2)", "PF221", "does not take 2 arguments")]),
    ("012", [("012", "PF223", "leading zeros")]),
    ("0x1F", [("0x1F", "PF223", "is not a number")]),
    ("1e999", [("1e999", "PF223", "too large")]),
    ("30s", [("30s", "PF223", "is not a number")]),
]


def findings(text: str) -> list[tuple[str, str, str]]:
    """Return the marked text, the code, and the message with the help of each finding."""
    with pytest.raises(InvalidExpression) as caught:
        parse_expression(text, roots=ROOTS)
    return [
        (text[finding.start : finding.end], finding.code, f"{finding.message} | {finding.help}")
        for finding in caught.value.findings
    ]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_expression_gives_the_value_or_the_error_of_the_case(case: Case) -> None:
    """Each case of the shared table holds in Python."""
    tree = parse_expression(case.text, roots=ROOTS).ast
    try:
        answer: dict[str, Any] = {"value": evaluate(tree, ENV)}
    except ExpressionError as error:
        answer = {"error": str(error)}
    case.check(answer)


@pytest.mark.parametrize(("text", "expected"), FINDINGS, ids=[text for text, _ in FINDINGS])
def test_every_mistake_is_found_under_its_own_characters(
    text: str, expected: list[tuple[str, str, str]]
) -> None:
    """All mistakes of one text, in order, each with position, code, and words that help."""
    marked = findings(text)
    assert [(part, code) for part, code, _ in marked] == [(p, c) for p, c, _ in expected]
    for (_, _, words), (_, _, fragment) in zip(marked, expected, strict=True):
        assert fragment in words


def test_every_code_of_a_finding_is_explained_and_used() -> None:
    """No code is undocumented, and none is explained in vain."""
    templates = {"PF222"}
    limits = {"PF220"}
    used = {code for _, rows in FINDINGS for _, code, _ in rows} | templates | limits

    assert used == {code for code in codes() if "PF210" <= code < "PF230"}


def test_every_finding_is_one_sentence_with_a_fix() -> None:
    """No finding leaves a person without a way on."""
    for text, _ in FINDINGS:
        with pytest.raises(InvalidExpression) as caught:
            parse_expression(text, roots=ROOTS)
        for finding in caught.value.findings:
            assert finding.help, (text, finding)
            assert "\n" not in finding.message
            assert not re.search(r"\bt\d+\b", finding.message + finding.help), "a placeholder"


def test_a_text_of_more_than_1000_characters_is_refused() -> None:
    """The limit holds on both sides."""
    assert parse_expression("1" + " " * 999, roots=ROOTS).ast == ["lit", 1]
    [(_, code, words)] = findings("1" + " " * 1000)
    assert code == "PF220"
    assert "1,001 characters" in words


@pytest.mark.parametrize("wrap", [("[", "]"), ("-(", ")"), ("not (", ")"), ("[0, ", "]")])
def test_more_than_50_levels_are_refused(wrap: tuple[str, str]) -> None:
    """The limit holds on both sides, however deep Python itself could go."""
    opener, closer = wrap
    parse_expression(opener * 49 + "input.x" + closer * 49, roots=ROOTS)
    [(_, code, words)] = findings(opener * 50 + "input.x" + closer * 50)
    assert (code, "deeper than 50 levels" in words) == ("PF220", True)
    assert "PF220" in {code for _, code, _ in findings(opener * 120 + "1" + closer * 120)}


def test_a_long_chain_of_conditions_is_flat() -> None:
    """Sixty alternatives are one node, not sixty levels."""
    text = " or ".join(["input.n == 1"] * 60)
    assert len(parse_expression(text, roots=ROOTS).ast) == 61  # type: ignore[arg-type]


def test_references_name_each_path_with_its_place() -> None:
    """The span of a reference is that of the path's characters."""
    text = "input.a.b[0].c + steps.s.output['k'] + len(input.a.b)"
    expression = parse_expression(text, roots=ROOTS)
    named = [(ref.path, text[ref.start : ref.end], ref.read) for ref in expression.references]
    assert named == [
        ("input.a.b", "input.a.b", True),
        ("steps.s.output", "steps.s.output", True),
        ("steps.s.output.k", "steps.s.output['k']", False),
        ("input.a.b", "input.a.b", True),
    ]
    assert expression.paths == ["input.a.b", "steps.s.output"]


def test_what_could_be_read_of_a_wrong_text_is_kept() -> None:
    """A misspelt field is reported beside a foreign operator: its path is in the exception."""
    with pytest.raises(InvalidExpression) as caught:
        parse_expression("input.ordr_id == 7 && true", roots=ROOTS)
    assert [ref.path for ref in caught.value.references] == ["input.ordr_id"]


@pytest.mark.parametrize("word", ["class", "def", "is", "None", "and", "lambda", "if", "True"])
def test_a_word_of_python_behind_a_dot_is_a_key(word: str) -> None:
    """Any identifier is a key there, and later columns stay right."""
    assert parse_expression(f"input.{word}", roots=ROOTS).paths == [f"input.{word}"]
    assert findings(f"input.{word} == x")[0][:2] == ("x", "PF214")


def test_places_count_code_points() -> None:
    """Characters of more than one byte do not move a caret."""
    assert findings('"é😀" + x')[0][0] == "x"
    assert findings("input.naïve && true")[0][0] == "&&"


def test_a_name_is_kept_as_it_is_written() -> None:
    """Python folds compatibility characters in names; keys of JSON stay what they are."""
    assert parse_expression("input.ﬁle", roots=ROOTS).paths == ["input.ﬁle"]


def test_a_whole_template_is_accepted_as_an_expression() -> None:
    """`if: ${{ … }}` works, with offsets in the whole text."""
    text = " ${{ input.n > 1 }} "
    expression = parse_expression(text, roots=ROOTS)
    assert expression.ast == [">", ["path", "input.n"], ["lit", 1]]
    assert text[expression.references[0].start : expression.references[0].end] == "input.n"
    assert findings("${{ input.n }} > 1")[0][1] == "PF219"
    assert findings("${{ input.n")[0][1] == "PF222"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${{ input.n }}", 7),
        ("${{ input.nothing }}", None),
        ("n=${{ input.n }}", "n=7"),
        ("${{ input.n }} ", "7 "),
        ("${{input.n}}${{input.yes}}", "7true"),
        ("[${{ input.nothing }}]", "[]"),
        ("${{ input.users[0].tags }}!", '["x", "y"]!'),
        ('${{ {"a": {"b": 1}} }}', {"a": {"b": 1}}),
        ('${{ {"a": {"b": 1}}}}', {"a": {"b": 1}}),
        ('${{ "}}" }}', "}}"),
        ("${{ '${{' }}", "${{"),
        ("$${{ input.n }} ${{ input.n }}", "${{ input.n }} 7"),
        ("${{ input.padded }} and ${{ 4 / 2 }}", "1.5 and 2"),
        ("a }} ${{ input.n }} }}", "a }} 7 }}"),
    ],
)
def test_a_template_joins_its_parts_or_keeps_the_type(text: str, value: object) -> None:
    """One `${{ }}` keeps its value's type; around it, everything is text."""
    expression = parse_template(text, roots=ROOTS)
    assert expression is not None
    assert evaluate(expression.ast, ENV) == value


@pytest.mark.parametrize("text", ["", "plain", "{{ x }}", "$${{ x }}", "$ {{ x }}"])
def test_a_text_without_an_expression_is_no_template(text: str) -> None:
    """Such a text is literal; only `$${{` changes."""
    assert parse_template(text, roots=ROOTS) is None
    assert unescape("$${{ x }}") == "${{ x }}"


def test_a_template_reports_the_mistakes_of_all_its_expressions() -> None:
    """Places count from the beginning of the whole text."""
    text = "é ${{ input.a && 1 }} ${{ x }} ${{ (1 }} ${{ 'open }}"
    with pytest.raises(InvalidExpression) as caught:
        parse_template(text, roots=ROOTS)
    marked = [(text[f.start : f.end], f.code) for f in caught.value.findings]
    assert marked == [("&&", "PF210"), ("x", "PF214"), ("(", "PF217"), ("'open ", "PF218")]


def test_a_template_that_is_not_closed_is_reported_where_it_opens() -> None:
    """The caret is under `${{`."""
    with pytest.raises(InvalidExpression) as caught:
        parse_template("a ${{ input.n } b", roots=ROOTS)
    [finding] = caught.value.findings
    assert (finding.start, finding.end, finding.code) == (2, 5, "PF222")


@pytest.mark.parametrize(
    "text",
    [
        "().__class__.__bases__[0].__subclasses__()",
        "'{0.__class__}'.format(input)",
        "[c for c in ().__class__.__mro__]()",
        "input.__init__.__globals__['os'].system('id')",
        "(lambda: 1)()",
        "open('/etc/passwd')",
        "getattr(input, 'x')",
        "9 ** 9 ** 9",
        "breakpoint()",
    ],
)
def test_known_escapes_are_refused(text: str) -> None:
    """Nothing of Python can be reached (S-10)."""
    assert findings(text)


def test_dunder_names_are_missing_keys() -> None:
    """`.__class__` looks up a key of JSON (S-10)."""
    tree = parse_expression("(input.words).__class__.__mro__", roots=ROOTS).ast
    assert evaluate(tree, ENV) is None


@pytest.mark.parametrize(
    "tree", [None, [], ["nope"], ["lit"], ["call", "nope"], ["path"], [["lit", 1]], 7]
)
def test_a_tree_that_no_parser_made_gives_an_error(tree: Any) -> None:
    """A forged row fails with a sentence, never with another exception (S-20)."""
    with pytest.raises(ExpressionError):
        evaluate(tree, {})


def test_a_nest_of_loops_is_stopped_soon() -> None:
    """Ten million visits are refused before they are made."""
    text = "[[[1 for a in range(215)] for b in range(215)] for c in range(215)]"
    tree = parse_expression(text, roots=ROOTS).ast
    started = time.process_time()
    with pytest.raises(ExpressionError, match="200,000"):
        evaluate(tree, {})
    assert time.process_time() - started < 2


def test_the_environment_is_left_as_it_was() -> None:
    """An evaluation changes neither its tree nor its environment."""
    before = json.dumps([ENV, [case.text for case in CASES]])
    for case in CASES[:200]:
        if case.error is None:
            evaluate(parse_expression(case.text, roots=ROOTS).ast, ENV)
    assert json.dumps([ENV, [case.text for case in CASES]]) == before


_PIECES = [
    *'()[]{},:.+-*/%"=!?$#\\ué😀',
    *("input", "x", "steps", "run", "a", "1", "2.5", "'a'", "null", "true", "${{", "}}"),
    *("**", "==", "&&", "||", "and", "or", "not", "in", "if", "else", "for", "is", "len("),
]
_WORDS = st.lists(st.sampled_from(_PIECES), max_size=12)


@patient
@settings(max_examples=examples(100))
@given(_WORDS.map(" ".join) | _WORDS.map("".join) | st.text(max_size=30))
def test_any_text_is_parsed_or_refused_within_itself(text: str) -> None:
    """No text breaks the parser, and every finding lies inside of the text."""
    for parse in (parse_expression, parse_template):
        try:
            parse(text, roots=ROOTS)
        except InvalidExpression as error:
            spans = [(finding.start, finding.end) for finding in error.findings]
        else:
            continue
        assert spans
        for start, end in spans:
            assert 0 <= start <= end <= len(text)
            assert start < end or not text.strip()


@patient
@settings(max_examples=examples(150), deadline=None)
@given(expression_trees.trees(), expression_trees.environments())
def test_any_tree_has_a_value_that_is_json_or_an_error(tree: Any, env: dict[str, Any]) -> None:
    """Values come back unchanged through JSON text, without NaN or infinity."""
    try:
        value = evaluate(tree, env)
    except ExpressionError:
        return
    assert json.loads(json.dumps(value, allow_nan=False)) == value


@pytest.mark.parametrize(
    ("text", "misused"),
    [
        ("secrets.A", set()),
        ("'Bearer ' + secrets.A + secrets.B", set()),
        ("{'k': secrets.A}", set()),
        ("lower(secrets.A)", {"secrets.A"}),
        ("('x' + secrets.A)[0]", {"secrets.A"}),
        ("secrets.A if secrets.B else ''", {"secrets.A", "secrets.B"}),
        ("[secrets.A for x in input.l]", {"secrets.A"}),
        ("input.n == secrets.A", {"secrets.A"}),
    ],
)
def test_a_secret_stands_alone_or_is_joined(text: str, misused: set[str]) -> None:
    """Anything else could give a part of it, which no mask finds."""
    tree = parse_expression(text, roots=frozenset({"input", "secrets"})).ast
    assert misused_secrets(tree) == misused
