"""Checking a whole file: layers together, no follow-up noise, the flow only when all is well."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from pgflow_yaml.errors import InvalidFlow
from pgflow_yaml.language.validation.messages import TO_WRITE
from tests.unit.flows import ROOT, a_flow, check, codes

if TYPE_CHECKING:
    from collections.abc import Iterator


def test_a_valid_file_gives_a_flow() -> None:
    """The checked flow is the returned one."""
    flow = check(
        a_flow("a: {handler: x.a, if: true}, b: {handler: x.b, depends_on: [a]}")
    ).require()

    assert flow.flow == "a_flow"
    assert list(flow.steps) == ["a", "b"]
    assert flow.steps["b"].depends_on == {"a": "success"}
    assert flow.steps["a"].if_ is not None
    assert flow.steps["a"].if_.ast == ["lit", True]


def test_an_invalid_file_raises_with_every_finding_and_the_first_in_the_message() -> None:
    """The message has the position, and the exception all findings as data."""
    checked = check(a_flow("a: {handler: x}, b: {handler: x.b, depends_on: [c]}"))

    with pytest.raises(InvalidFlow) as caught:
        checked.require()

    assert [finding.code for finding in caught.value.diagnostics] == ["PF206", "PF202"]
    assert str(caught.value).startswith("a.yaml:3:22: handler of step")
    assert "(and 1 more)" in str(caught.value)
    assert caught.value.source == checked.source


def test_a_warning_alone_does_not_refuse_the_file() -> None:
    """A flow with a warning is still a flow."""
    checked = check(a_flow("a: {handler: x.a, with: {version: 3.10}}"))

    assert [finding.severity for finding in checked.diagnostics] == ["warning"]
    assert checked.errors == ()
    assert checked.require().flow == "a_flow"


def test_text_and_bytes_are_checked_alike() -> None:
    """A caller may pass what it has read."""
    text = a_flow("a: {handler: x.a}")

    assert check(text).flow == check(text.encode()).flow
    assert check("\ufeff" + text).flow == check(b"\xef\xbb\xbf" + text.encode()).flow
    assert check("\ufeff" + text).source == text
    assert codes(b"flow: \xff") == ["PF013"]


@pytest.mark.parametrize("text", ["", "\n", "# only a comment\n", "---\n", "null\n"])
def test_an_empty_file_says_how_to_begin(text: str) -> None:
    """Nothing is one finding with the first two keys as its fix."""
    (finding,) = check(text).diagnostics

    assert finding.message == "the file is empty"
    assert "`flow: my_flow`" in (finding.help or "")


def test_findings_come_in_reading_order() -> None:
    """Both layers are merged by position."""
    spans = [
        (finding.span.line, finding.span.column)
        for finding in check(
            a_flow(
                "a: {handler: x, foo: 1, if: inptu.x}, b: {handler: x.b, depends_on: [c]}", "y: 1"
            )
        ).diagnostics
        if finding.span
    ]

    assert spans == sorted(spans)
    assert len(spans) == 5


@pytest.mark.parametrize(
    "steps",
    [
        "a: {handler: x.a}, b: {handler: x.b, dependson: [a], with: '${{ steps.a.output }}'}",
        "a: {handler: x.a}, b: {handler: x.b, needs: a, with: '${{ steps.a.output }}'}",
        "a: {handler: x.a, foreach: [1], with: '${{ item }}'}",
        "a: {handler: x.a, when: input, when_unmet: fail}",
        "a: {uses: x.a}",
        "a: {handlr: x.a}",
        "a: {wait: {duration: 10m}}",
        "a: {sleep: 10m}",
        "a: {handler: x.a, initial_task: 3, with: '${{ index }}'}",
    ],
)
def test_a_wrong_key_causes_no_second_finding(steps: str) -> None:
    """A mistyped or foreign key stands for ours, so ours is not reported as missing."""
    assert len(codes(a_flow(steps))) == 1


def test_a_typo_of_a_key_to_come_says_that_it_is_to_come() -> None:
    """Following the advice must not end in the next refusal."""
    (finding,) = check(a_flow("a: {handler: x.a, cahce: {for: 1h}}")).diagnostics

    assert finding.message.endswith('did you mean "cache"?')
    assert (finding.help or "").startswith("cache is not supported yet: ")


def test_each_key_that_the_schema_requires_has_words() -> None:
    """A mapping without it is a finding, not a failure of `validate`."""

    def required(part: Any) -> Iterator[str]:
        if isinstance(part, list):
            part = dict(enumerate(part))
        if isinstance(part, dict):
            if "oneOf" not in part and isinstance(part.get("required"), list):
                yield from part["required"]
            for name, inner in part.items():
                if name != "oneOf":  # one of several: findings of their own
                    yield from required(inner)

    schema = json.loads((ROOT / "schemas/workflow.schema.json").read_text())

    assert {"flow", "limit"} <= set(required(schema)) <= set(TO_WRITE)


@pytest.mark.parametrize(
    ("step", "flow"),
    [
        ("", "concurrency: {key: run.labels.team}"),
        (", concurrency: {key: run.flow}", ""),
        (", rate_limit: {per: 1m}", ""),
        ("", "concurrency: {}"),
    ],
)
def test_a_limit_without_a_number_says_what_to_write(step: str, flow: str) -> None:
    """Of a flow, of a step, of a rate."""
    (finding,) = check(a_flow(f"a: {{handler: x.a{step}}}", flow)).diagnostics

    assert (finding.code, finding.help) == ("PF101", "write how many there may be: `limit: 1`")


def test_the_value_of_a_mistyped_key_is_checked_too() -> None:
    """Both mistakes show in one go."""
    assert codes(a_flow("a: {handler: x.a, time_out: 5 parsecs}")) == ["PF102", "PF106"]


def test_what_an_alias_repeats_is_reported_once() -> None:
    """One mistake in the file is one finding."""
    text = "flow: a\nx-r: &r {max: 3}\nsteps:\n" + "".join(
        f"  s{n}: {{handler: x.a, retry: *r}}\n" for n in range(3)
    )

    diagnostics = check(text).diagnostics

    assert [finding.code for finding in diagnostics] == ["PF105"]
    assert diagnostics[0].span is not None
    assert diagnostics[0].span.line == 2


def test_a_foreign_word_for_steps_or_input_is_read_on() -> None:
    """Mistakes below `jobs` and `inputs` are shown with those words, not after them."""
    text = "flow: a\ninputs: {n: {type: integr}}\njobs:\n  a: {handler: x, if: input.m}\n"

    assert codes(text) == ["PF105", "PF104", "PF105", "PF206", "PF207"]


def test_an_input_that_cannot_be_read_makes_no_field_unknown() -> None:
    """Unknown fields cause no finding."""
    assert codes(a_flow("a: {handler: x.a, if: input.n}", "input: [n]")) == ["PF103"]


@pytest.mark.parametrize(
    ("steps", "code"),
    [
        ("a: {handler: x.a, depends_on: [a]}", "PF201"),
        (
            "a: {handler: x.a, depends_on: [b]}, b: {handler: x.b, depends_on: [a]}",
            "PF201",
        ),
        ("a: {handler: x.a, depends_on: [zzz]}", "PF202"),
        ("a: {handler: x.a, with: '${{ steps.zzz.output }}'}", "PF202"),
        ("a: {handler: x.a}, b: {handler: x.b, if: steps.a.output}", "PF203"),
        ("a: {handler: x.a, if: steps.a.status == null}", "PF203"),
        ("a: {}", "PF204"),
        ("a: {handler: x.a, map: [1], initial_tasks: 2}", "PF205"),
        ("a: {handler: x.a, when_unmet: fail}", "PF205"),
        ("a: {handler: x}", "PF206"),
        ("a: {handler: x.__class__.y}", "PF206"),
        ("a: {handler: x.a, if: input.n}", "PF207"),
        ("a: {handler: x.a, if: item == 1, map: [1]}", "PF230"),
        ("a: {handler: x.a, with: '${{ item }}'}", "PF230"),
        ("a: {handler: x.a, with: '${{ index }}'}", "PF230"),
        ("a: {handler: x.a, with: '${{ item }}', initial_tasks: 2}", "PF230"),
        ("a: {handler: x.a, if: attempt == 1}", "PF230"),
        ("a: {handler: x.a, map: [input.n]}", "PF232"),
        ("a: {handler: x.a, map: [u for u in input]}", "PF232"),
        ("a: {handler: x.a, map: ['${{ input }}']}", "PF232"),
        ("a: {handler: x.a, timeout: 0s}", "PF109"),
        ("a: {handler: x.a, timeout: 366d}", "PF109"),
        ("a: {handler: x.a, timeout: 0}", "PF109"),
        ("a: {handler: x.a, initial_tasks: 100001}", "PF109"),
        ("a: {handler: x.a, retry: {if: output}}", "PF230"),
        ("a: {handler: x.a, retry: {if: error.typ}}", "PF215"),
        ("a: {handler: x.a, repeat: {until: error}}", "PF230"),
        ("a: {handler: x.a, repeat: {every: 5s}}", "PF101"),
        ("a: {handler: x.a, repeat: {until: 'secrets.KEY'}}", "PF230"),
        ("a: {flow: b, with: '${{ secrets.KEY }}'}", "PF230"),
        ("a: {handler: x.a, with: '${{ secrets }}'}", "PF215"),
        ("a: {handler: x.a, with: '${{ secrets.KEY.part }}'}", "PF215"),
        ("a: {handler: x.a, with: {k: '${{ lower(secrets.KEY) }}'}}", "PF230"),
        ("a: {handler: x.a, with: {k: '${{ secrets.KEY[0] }}'}}", "PF230"),
        ("a: {handler: x.a, with: {k: 'x ${{ secrets.KEY == 1 }}'}}", "PF230"),
        ("a: {handler: x.a, with: {k: '${{ [c for c in split(secrets.KEY)] }}'}}", "PF230"),
        ("a: {handler: x.a, if: run.status == 'failed'}", "PF230"),
        ("a: {handler: x.a, if: run.versoin == 'failed'}", "PF215"),
        ("a: {handler: x.a, if: run.parent.name == 'failed'}", "PF215"),
        ("a: {handler: x.a}, b: {handler: x.b, depends_on: {a: failed}}", "PF104"),
        ("a: {handler: x.a, depends_on: {b: any}}", "PF202"),
        ("a: {handler: x.a, max_parallel: 3}", "PF205"),
        ("a: {handler: x.a, fail_fast: false}", "PF205"),
        ("a: {handler: x.a, tolerate: 3}", "PF205"),
        ("a: {handler: x.a, map: [1], tolerate: 5 %}", "PF106"),
        ("a: {handler: x.a, map: [1], tolerate: 101%}", "PF106"),
        ("a: {handler: x.a, map: [1], tolerate: 0.05}", "PF103"),
        ("a: {handler: x.a, queue: GPU}", "PF107"),
        ("a: {flow: Other}", "PF107"),
        ("a: {flow: other@12}", "PF107"),
        ("a: {flow: {steps: {}}}", "PF111"),
        ("a: {flow: other, queue: q}", "PF237"),
        ("a: {flow: other, repeat: {until: true}}", "PF237"),
        ("a: {flow: other, handler: x.a}", "PF204"),
        ("a: {wait: {for: 10m, event: e}}", "PF204"),
        ("a: {wait: {for: 10m, timeout: 5m}}", "PF205"),
        ("a: {wait: {timeout: 5m}}", "PF204"),
        ("a: {wait: {}}", "PF111"),
        ("a: {wait: 10m}", "PF103"),
        ("a: {wait: {for: 10 minutes}}", "PF106"),
        ("a: {wait: {for: 366d}}", "PF109"),
        ("a: {wait: {until: '2030-01-31T08:00:00Z'}}", "PF106"),
        ("a: {wait: {event: 1st}}", "PF107"),
        ("a: {wait: {for: 1s}, retry: 3}", "PF237"),
        ("a: {wait: {for: 1s}, with: {a: 1}}", "PF237"),
        ("a: {wait: {for: 1s}, start_delay: 5s}", "PF237"),
        ("input: {handler: x.a}", "PF108"),
        ("a-b: {handler: x.a}", "PF107"),
    ],
)
def test_each_mistake_of_meaning_has_its_code(steps: str, code: str) -> None:
    """One mistake, one finding, its stable code, and a fix."""
    (finding,) = check(a_flow(steps)).diagnostics

    assert finding.code == code
    assert finding.help


@pytest.mark.parametrize(
    "field",
    [
        "{type: string, default: 5}",
        "{type: integer, default: true}",
        "{minimum: 3, default: 2}",
        "{enum: [a, b], default: c}",
        "{type: array, items: {type: string}, default: [1]}",
        "{type: integer, enum: [a]}",
    ],
)
def test_a_default_must_be_something_the_field_takes(field: str) -> None:
    """A default that a run could never start with is found before."""
    assert codes(a_flow("a: {handler: x.a}", f"input: {{n: {field}}}")) == ["PF208"]


@pytest.mark.parametrize(
    "keyword",
    ["pattern: a", "format: date", "$ref: '#'", "oneOf: []", "anyOf: []", "nullable: true"],
)
def test_keywords_that_nobody_checks_are_refused(keyword: str) -> None:
    """A keyword in an input field is checked or refused, never ignored."""
    assert codes(a_flow("a: {handler: x.a}", f"input: {{n: {{{keyword}}}}}")) == ["PF120"]


def test_a_default_is_divided_as_it_is_written() -> None:
    """0.3 is three times 0.1, whatever their doubles are; 0.35 is no multiple of it."""
    field = "{{type: number, multipleOf: 0.1, default: {}}}"

    assert codes(a_flow("a: {handler: x.a}", f"input: {{n: {field.format(0.3)}}}")) == []
    assert codes(a_flow("a: {handler: x.a}", f"input: {{n: {field.format(0.35)}}}")) == ["PF208"]


def test_a_default_is_not_held_against_a_broken_schema() -> None:
    """A deep mistake in a field is one finding; its default is judged once that is right."""
    field = "{type: array, items: {type: strng}, default: [1]}"

    assert codes(a_flow("a: {handler: x.a}", f"input: {{n: {field}}}")) == ["PF104"]


def test_literal_lists_may_hold_any_json() -> None:
    """Words that happen to be names are still words."""
    step = check(a_flow("a: {handler: x.a, map: [run, walk, 1, null, {a: [b]}]}")).require()

    formula = step.steps["a"].map
    assert formula is not None
    assert formula.ast == ["lit", ["run", "walk", 1, None, {"a": ["b"]}]]


def test_a_template_as_a_whole_becomes_one_formula() -> None:
    """Mappings, lists, texts and values nest; an escaped template is text."""
    flow = check(
        a_flow(
            "a: {handler: x.a, with: {a: [1, 'n=${{ input.n }}'], b: '$${{ x }}', c: null}}",
            "input: {n: {}}",
        )
    ).require()

    formula = flow.steps["a"].with_
    assert formula is not None
    assert formula.paths == ("input.n",)
    assert formula.ast == [
        "dict",
        "a",
        ["list", ["lit", 1], ["text", ["lit", "n="], ["path", "input.n"]]],
        "b",
        ["lit", "${{ x }}"],
        "c",
        ["lit", None],
    ]


def test_the_limits_of_steps_and_dependencies_are_kept() -> None:
    """More than 2,000 steps or 20,000 dependencies are refused (S-19)."""
    many = "flow: a\nsteps:\n" + "".join(f"  s{n}: {{handler: x.a}}\n" for n in range(2001))
    dense = "flow: a\nsteps:\n" + "".join(
        f"  s{n}: {{handler: x.a, depends_on: [{', '.join(f's{m}' for m in range(n))}]}}\n"
        for n in range(205)
    )

    assert codes(many) == ["PF209"]
    assert codes(dense) == ["PF209"]


def test_a_thousand_steps_are_checked_in_a_fraction_of_a_second() -> None:
    """Checking is linear; the bound leaves room for a busy machine."""
    text = "flow: a\ninput: {n: {}}\nsteps:\n" + "".join(
        f"  s{n}: {{handler: x.a, depends_on: [{f's{n - 1}' if n else ''}],"
        f" if: input.n > {n}, with: {{k: '${{{{ input.n }}}}'}}, retry: {{max_attempts: 2}}}}\n"
        for n in range(1000)
    )
    start = time.process_time()

    flow = check(text).require()

    assert len(flow.steps) == 1000
    assert time.process_time() - start < 2.0


def test_the_flow_itself_has_no_step_name() -> None:
    """`run.step` is known in a step, and has no keys."""
    output = check(a_flow("a: {handler: x.a}", 'output: "${{ run.step }}"'))
    key = check(a_flow('a: {handler: x.a, with: {n: "${{ run.step.name }}"}}'))

    assert [(f.code, f.message) for f in (*output.diagnostics, *key.diagnostics)] == [
        ("PF230", "`run.step` is only known in a step, not in output"),
        ("PF215", "`run.step` is a text, without keys"),
    ]


@pytest.mark.parametrize(
    ("expression", "message", "fix"),
    [
        ("input.x.length", "`input.x` is a text, without keys", "write len(input.x)"),
        ('input.x["y"]', "`input.x` is a text, without keys", "write input.x"),
        ("input.kind.y", "`input.kind` is a text, without keys", "write input.kind"),
        ("run.flow.name", "`run.flow` is a text, without keys", "write run.flow"),
        ("steps.a.status.code", "`steps.a.status` is a text, without keys", "write steps.a.status"),
        ('input["z"]', '"z" is not a field of the input', "or declare z under `input`"),
        ("input['order-id']", '"order-id" is not a field of the input', "declare order-id"),
        ("input.maybe.y", "`input.maybe` is a number, without keys", "write input.maybe"),
        ("input.open.y + input.either.y", None, None),
    ],
)
def test_a_key_that_no_value_has_is_not_null_in_silence(
    expression: str, message: str | None, fix: str | None
) -> None:
    """A text has no keys, and brackets reach no other fields than a dot does."""
    head = """input:
  x: {type: string}
  kind: {enum: [a, b]}
  maybe: {type: [integer, "null"]}
  either: {type: [string, object]}
  open: {}"""
    with_ = expression.replace("'", "''")
    steps = f"a: {{handler: x.a}}, b: {{handler: x.b, depends_on: [a], with: '${{{{ {with_} }}}}'}}"
    found = check(a_flow(steps, head)).diagnostics

    assert [(each.message, (fix or "") in (each.help or "")) for each in found] == (
        [(message, True)] if message else []
    )
