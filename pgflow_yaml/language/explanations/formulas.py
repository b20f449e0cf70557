"""PF210 to PF232: expressions and templates."""

from __future__ import annotations

from pgflow_yaml.language.explanations.entry import Explanation

_INPUT = (
    "input: {n: {type: integer}, name: {type: string}, list: {type: array, default: []},"
    " user: {type: object, default: {}}}\nsteps:\n"
)


def _step(key: str, expression: str) -> str:
    """A step with an expression, quoted as YAML wants it."""
    quoted = "'" + expression.replace("'", "''") + "'"
    return f"{_INPUT}  a: {{handler: app.a, {key}: {quoted}}}\n"


FORMULAS = {
    "PF210": Explanation(
        title="an operator of another language",
        text="Expressions are a closed part of Python's: `and`, `or`, `not`, `a if c else b`.",
        bad=_step("if", "input.n > 1 && input.n < 9"),
        good=_step("if", "input.n > 1 and input.n < 9"),
    ),
    "PF211": Explanation(
        title="one `=` where `==` is meant",
        text="Nothing is assigned in an expression; two equals signs compare.",
        bad=_step("if", "input.n = 1"),
        good=_step("if", "input.n == 1"),
    ),
    "PF212": Explanation(
        title="a method call",
        text="Values are JSON and have no methods; functions stand before their arguments.",
        bad=_step("if", 'input.name.lower() == "ada"'),
        good=_step("if", 'lower(input.name) == "ada"'),
    ),
    "PF213": Explanation(
        title="an unknown function",
        text="There is a fixed list of functions, in docs/reference/language.md. What they "
        "cannot do is done in a step.",
        bad=_step("if", "length(input.list) > 1"),
        good=_step("if", "len(input.list) > 1"),
    ),
    "PF214": Explanation(
        title="an unknown name in an expression",
        text="Names are `input`, `steps`, `run`, and in some places `item`, `index`, `output`, "
        "`iteration`, `error`, `attempt` or `secrets`. A text has quotes.",
        bad=_step("if", "inputs.n > 1"),
        good=_step("if", "input.n > 1"),
    ),
    "PF215": Explanation(
        title="an unknown or incomplete path",
        text="A step has `output`, `status`, `skip_reason`, `error` and `errors`. A run has `id`, "
        "`flow`, `version`, `started_at`, `labels` and `parent`, and in `finally` "
        "also `status`, `failed`, `unhandled` and `skipped`. An error has `type` and `message`, "
        "that of a step also `attempts`.",
        bad="steps:\n  a: {handler: app.a}\n"
        "  b: {handler: app.b, depends_on: [a], if: steps.a.result}\n",
        good="steps:\n  a: {handler: app.a}\n"
        "  b: {handler: app.b, depends_on: [a], if: steps.a.output}\n",
    ),
    "PF216": Explanation(
        title="Python syntax that the expression language leaves out",
        text="No lambda, f-string, slice, set, tuple, power, assignment or starred argument: what "
        "is left is small enough to be the same in Python and in SQL.",
        bad=_step("map", "input.list[1:3]"),
        good=_step("map", "[x for x in input.list if x > 1]"),
    ),
    "PF217": Explanation(
        title="a bracket without its partner",
        text="Every bracket that is opened is closed, in the reverse order.",
        bad=_step("if", "(input.n > 1"),
        good=_step("if", "(input.n > 1)"),
    ),
    "PF218": Explanation(
        title="a text that is not closed, or not allowed",
        text="A text begins and ends with the same quote. A prefix (f, r, b) or three quotes are "
        "Python's alone, and U+0000 cannot be stored.",
        bad=_step("if", "input.name == 'ada"),
        good=_step("if", "input.name == 'ada'"),
    ),
    "PF219": Explanation(
        title="no expression",
        text="The text is empty, ends too early, or its parts do not fit together.",
        bad=_step("if", "input.n >"),
        good=_step("if", "input.n > 1"),
    ),
    "PF220": Explanation(
        title="an expression that is too long or nested too deeply",
        text="At most 1,000 characters and 50 levels: what is longer is easier to read, and to "
        "test, as the code of a step.",
        bad=_step("if", "-" * 60 + "input.n > 1"),
        good=_step("if", "-input.n > 1"),
    ),
    "PF221": Explanation(
        title="a wrong number of arguments",
        text="The help shows how the function is called.",
        bad=_step("if", "len(input.list, 1) > 1"),
        good=_step("if", "len(input.list) > 1"),
    ),
    "PF222": Explanation(
        title="a template that is not closed",
        text="`${{` opens an expression inside of a text, `}}` closes it, and `$${{` writes the "
        "three characters themselves.",
        bad='  a: {handler: app.a, with: "run ${{ run.id"}\n',
        good='  a: {handler: app.a, with: "run ${{ run.id }}"}\n',
    ),
    "PF223": Explanation(
        title="a number that is not allowed in an expression",
        text="Numbers are decimal, without underscores, leading zeros or letters, and fit into a "
        "double.",
        bad=_step("if", "input.n > 0x1F"),
        good=_step("if", "input.n > 31"),
    ),
    "PF230": Explanation(
        title="a name that only another place knows",
        text="`item` and `index` are known in `with` of a step with several tasks, `output` and "
        "`iteration` in `repeat.until`, `error` and `attempt` in `retry.if`, `secrets` in `with` "
        "of a step with a handler, the end of the run (`run.status`) in `finally`.",
        bad="  a: {handler: app.a, map: [1, 2], if: item > 1}\n",
        good='  a: {handler: app.a, map: "[x for x in [1, 2] if x > 1]"}\n',
    ),
    "PF232": Explanation(
        title="a `map` that is a list of texts where an expression is meant",
        text="Unquoted, `[…]` is a list of YAML, and what stands in it are its texts. An "
        "expression that begins with a bracket is quoted.",
        bad=f"{_INPUT}  a: {{handler: app.a, map: [x for x in input.list]}}\n",
        good=f'{_INPUT}  a: {{handler: app.a, map: "[x for x in input.list]"}}\n',
    ),
}
