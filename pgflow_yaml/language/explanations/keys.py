"""PF101 to PF120: keys, and the kind of their values."""

from __future__ import annotations

from pgflow_yaml.language.explanations.entry import Explanation

KEYS = {
    "PF101": Explanation(
        title="something that is needed is missing",
        text="A flow has a name (`flow`) and at least one step (`steps`); `repeat` says `until` "
        "when.",
        bad="  poll: {handler: app.poll, repeat: {every: 10s}}\n",
        good="  poll: {handler: app.poll, repeat: {until: output.done, every: 10s}}\n",
    ),
    "PF102": Explanation(
        title="an unknown key",
        text="A key that nobody reads would do nothing and look as if it did, so it is refused. "
        "Keys beginning with `x-` at the top of a flow are yours.",
        bad="  pay: {handler: app.pay}\n  ship: {handler: app.ship, dependson: [pay]}\n",
        good="  pay: {handler: app.pay}\n  ship: {handler: app.ship, depends_on: [pay]}\n",
    ),
    "PF103": Explanation(
        title="a value of the wrong kind",
        text="A list stands where a text is expected, or the other way round. `yes`, `no`, `on` "
        "and `off` are texts in YAML 1.2; booleans are `true` and `false`.",
        bad="  ship: {handler: app.ship, retry: {jitter: no}}\n",
        good="  ship: {handler: app.ship, retry: {jitter: false}}\n",
    ),
    "PF104": Explanation(
        title="a value that is not among the allowed ones",
        text="The message names them all.",
        bad="  ship: {handler: app.ship, when_exhausted: ignore}\n",
        good="  ship: {handler: app.ship, when_exhausted: skip}\n",
    ),
    "PF105": Explanation(
        title="a key that has another name here",
        text="The word is known from another tool. There is one word for each thing here, so that "
        "examples and searches agree; docs/how-to/coming-from.md has a table for each tool.",
        bad="  ship: {handler: app.ship, retries: 3}\n",
        good="  ship: {handler: app.ship, retry: 3}\n",
    ),
    "PF106": Explanation(
        title="a text that is no duration, no time or no share",
        text="A duration is a number of seconds, or a number with ms, s, m, h or d. A fixed time "
        "is a text, in quotes inside of the expression. A share of a map's items is a percentage.",
        bad="  ship: {handler: app.ship, timeout: 30 seconds}\n",
        good="  ship: {handler: app.ship, timeout: 30s}\n",
    ),
    "PF107": Explanation(
        title="a name that cannot be one",
        text="A flow and a queue: lower-case letters, digits and single underscores, at most 47. A "
        "step and an input field: letters, digits and underscores, so that `steps.NAME` and "
        "`input.NAME` can be written. An event may have dots as well, a label also `/` and `-`.",
        bad="  ship-it: {handler: app.ship}\n",
        good="  ship_it: {handler: app.ship}\n",
    ),
    "PF108": Explanation(
        title="a step name that expressions use for something else",
        text="`run input steps item index output error secrets` are names of the expression "
        "language.",
        bad="  output: {handler: app.write}\n",
        good="  write_output: {handler: app.write}\n",
    ),
    "PF109": Explanation(
        title="a number out of its range",
        text="Attempts count the first one, so there is at least one. Durations end at 365 days; a "
        "timeout is more than nothing.",
        bad="  ship: {handler: app.ship, retry: 0}\n",
        good="  ship: {handler: app.ship, retry: 1}\n",
    ),
    "PF110": Explanation(
        title="a part of the language that is not supported yet",
        text="The word is reserved and will mean what it says. Until then it is refused, because a "
        "key without effect is worse than none; the help says what can be done today.",
        bad="concurrency: 1\n",
        good="description: At most one run at once, by the runs' key.\n",
    ),
    "PF111": Explanation(
        title="a mapping or list that must not be empty",
        text="A flow has at least one step, a `wait` something to wait for, an `enum` a value.",
        bad="input: {plan: {enum: []}}\n",
        good="input: {plan: {enum: [free, premium]}}\n",
    ),
    "PF120": Explanation(
        title="a JSON Schema keyword that input fields do not have",
        text="Only keywords that are checked in every place are taken. `pattern` and `format` are "
        "left out as they may take for ever or mean nothing, `$ref` as it may fetch; an optional "
        "field has a `default`.",
        bad='input: {zip: {type: string, pattern: "^[0-9]+$"}}\n',
        good="input: {zip: {type: string, minLength: 5, maxLength: 5}}\n",
    ),
}
