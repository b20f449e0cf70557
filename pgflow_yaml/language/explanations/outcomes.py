"""PF250 to PF261: what no run can change."""

from __future__ import annotations

from pgflow_yaml.language.explanations.entry import Explanation

_PLAN = "input: {plan: {enum: [free, premium]}, n: {type: integer}}\nsteps:\n"

OUTCOMES = {
    "PF250": Explanation(
        title="a comparison with a value that the name never has",
        text="By its type or `enum` an input field cannot be that value, or a status is called "
        "otherwise here: a step is completed, skipped, failed or cancelled, a run completed, "
        "failed or cancelled.",
        bad=f'{_PLAN}  a: {{handler: app.a, if: input.plan == "premum"}}\n',
        good=f'{_PLAN}  a: {{handler: app.a, if: input.plan == "premium"}}\n',
    ),
    "PF251": Explanation(
        title="an order between a number and a text",
        text="Numbers and texts have no common order: every run would fail with ExpressionError.",
        bad=f'{_PLAN}  a: {{handler: app.a, if: input.n > "5"}}\n',
        good=f"{_PLAN}  a: {{handler: app.a, if: input.n > 5}}\n",
    ),
    "PF252": Explanation(
        title="a condition that no run changes",
        text="Whatever the input, it comes out the same. `true` and `false` alone are taken for "
        "meant: `if: false` switches a step off. An `until` has to read what the handler returned, "
        "else every call decides the same.",
        bad=f"{_PLAN}  a: {{handler: app.a, if: input.n > 5 or true}}\n",
        good=f"{_PLAN}  a: {{handler: app.a, if: input.n > 5}}\n",
    ),
    "PF253": Explanation(
        title="an expression that never has a value",
        text="It divides by zero or adds a text to a number, and reads nothing that could change "
        "that.",
        bad='  a: {handler: app.a, with: "${{ 1 / 0 }}"}\n',
        good='  a: {handler: app.a, with: "${{ 1 / 2 }}"}\n',
    ),
    "PF254": Explanation(
        title="a knob without effect",
        text="It says something that another knob takes back: delays where there is one attempt, a "
        "max_delay below base_delay, a step's timeout beyond that of the flow.",
        bad="  a: {handler: app.a, retry: {max_attempts: 1, base_delay: 5s}}\n",
        good="  a: {handler: app.a, retry: {max_attempts: 2, base_delay: 5s}}\n",
    ),
    "PF255": Explanation(
        title="a `map` over what is no list",
        text="A map has one task for each item of a list. The run's input is an object unless the "
        "flow has an `input_schema`.",
        bad="input: {pages: {type: array}}\nsteps:\n  a: {handler: app.a, map: input}\n",
        good="input: {pages: {type: array}}\nsteps:\n  a: {handler: app.a, map: input.pages}\n",
    ),
    "PF260": Explanation(
        title="a step that never runs, as another never ends so",
        text="Its edge asks for an outcome that the other step cannot have: a failure of a step "
        "that is switched off or only lets time pass, or the success of one that always takes its "
        "dependents with it.",
        bad="  a: {wait: {for: 5s}}\n  b: {handler: app.b, depends_on: {a: failure}}\n",
        good="  a: {wait: {for: 5s}}\n  b: {handler: app.b, depends_on: [a]}\n",
    ),
    "PF261": Explanation(
        title="a step that never runs, as its edges contradict each other",
        text="Followed upwards, its edges ask one step both to fail and not to fail: a step that "
        "depends on a failure, and on something that happens only without it. An edge `any` is "
        "content with either.",
        bad="  charge: {handler: app.charge}\n"
        "  ship: {handler: app.ship, depends_on: [charge]}\n"
        "  undo: {handler: app.undo, depends_on: {charge: failure, ship: success}}\n",
        good="  charge: {handler: app.charge}\n"
        "  ship: {handler: app.ship, depends_on: [charge]}\n"
        "  undo: {handler: app.undo, depends_on: {charge: failure, ship: any}}\n",
    ),
}
