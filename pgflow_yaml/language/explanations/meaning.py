"""PF201 to PF209 and PF236 to PF242: what steps and flows mean together."""

from __future__ import annotations

from pgflow_yaml.language.explanations.entry import Explanation

MEANING = {
    "PF201": Explanation(
        title="steps that wait for each other",
        text="Each of these steps would start when another of them has ended, so none would. "
        "Repetition is `repeat` in one step, or a child flow.",
        bad="  a: {handler: app.a, depends_on: [b]}\n  b: {handler: app.b, depends_on: [a]}\n",
        good="  a: {handler: app.a}\n  b: {handler: app.b, depends_on: [a]}\n",
    ),
    "PF202": Explanation(
        title="there is no such step",
        text="The name stands in `depends_on` or in an expression, but not under `steps`.",
        bad="  ship: {handler: app.ship, depends_on: [charge]}\n",
        good="  charge: {handler: app.charge}\n  ship: {handler: app.ship, depends_on: [charge]}\n",
    ),
    "PF203": Explanation(
        title="an expression reads a step that is not among its ancestors",
        text="An expression may read `steps.S` only where S is certain to have ended: where it is "
        "named in `depends_on`, or comes before one that is. Order comes from `depends_on` "
        "alone, never from what an expression names. Steps of `finally` read every other step.",
        bad="  quote: {handler: shop.quote}\n"
        "  charge:\n"
        "    handler: shop.charge\n"
        '    with: {amount: "${{ steps.quote.output.total }}"}\n',
        good="  quote: {handler: shop.quote}\n"
        "  charge:\n"
        "    handler: shop.charge\n"
        "    depends_on: [quote]\n"
        '    with: {amount: "${{ steps.quote.output.total }}"}\n',
    ),
    "PF204": Explanation(
        title="a step that does nothing, or two things",
        text="A step calls a `handler`, runs a `flow`, or lets something pass by `wait`: exactly "
        "one of them. A `wait` is for one thing as well.",
        bad="  approve: {handler: app.ask, wait: {event: approval}}\n",
        good="  ask: {handler: app.ask}\n  approve: {wait: {event: approval}, depends_on: [ask]}\n",
    ),
    "PF205": Explanation(
        title="keys that exclude each other, or have no effect alone",
        text="`map` and `initial_tasks` both say how many tasks there are; `when_unmet` needs an "
        "`if`; `tolerate`, `max_parallel` and `fail_fast` need one of the first two; a keyword of "
        "an input field fits its type.",
        bad="  ship: {handler: app.ship, tolerate: 5%}\n",
        good="  ship: {handler: app.ship, map: [eu, us], tolerate: 5%}\n",
    ),
    "PF206": Explanation(
        title="a handler that is no dotted path to a function",
        text="Write package.module.function, without brackets, slashes or colons. Names with two "
        "underscores are private to Python.",
        bad='  ship: {handler: "app.tasks:ship()"}\n',
        good="  ship: {handler: app.tasks.ship}\n",
    ),
    "PF207": Explanation(
        title="an input field that the flow does not declare",
        text="A run with an undeclared field is refused, so the expression could only ever read "
        "null.",
        bad="input: {order_id: {type: integer}}\n"
        "steps:\n  ship: {handler: app.ship, if: input.ordr_id > 0}\n",
        good="input: {order_id: {type: integer}}\n"
        "steps:\n  ship: {handler: app.ship, if: input.order_id > 0}\n",
    ),
    "PF208": Explanation(
        title="a default or enum value that its own field refuses",
        text="A run that leaves the field out would be refused for a value it never gave.",
        bad="input: {size: {type: integer, default: large}}\n",
        good="input: {size: {type: integer, default: 3}}\n",
    ),
    "PF209": Explanation(
        title="more steps or dependencies than a flow may have",
        text="At most 2,000 steps and 20,000 dependencies. Many equal steps are one step with "
        "`map`; a part with a meaning of its own is a child flow.",
        bad="  a1: {handler: app.a}\n  # and 2,000 more\n",
        good='  a: {handler: app.a, map: "range(2000)"}\n',
    ),
    "PF236": Explanation(
        title="an edge between the steps and those of `finally`",
        text="Steps of `finally` begin when all others are over, whatever happened. They depend on "
        "each other only, and nothing waits for them.",
        bad="steps:\n  work: {handler: app.work}\n"
        "finally:\n  audit: {handler: app.audit, depends_on: [work]}\n",
        good="steps:\n  work: {handler: app.work}\n"
        "finally:\n  audit: {handler: app.audit}\n"
        "  alert: {handler: app.alert, depends_on: [audit]}\n",
    ),
    "PF237": Explanation(
        title="a key that does not belong to this kind of step",
        text="`queue` and `repeat` concern a handler. A child flow is tried once and without a "
        "time limit unless `retry` and `timeout` say so. A step that waits takes only "
        "`depends_on`, `if`, `when_unmet`, `when_exhausted` and `description`.",
        bad="  approve: {wait: {event: approval}, timeout: 2d}\n",
        good="  approve: {wait: {event: approval, timeout: 2d}}\n",
    ),
    "PF238": Explanation(
        title="one name for two steps",
        text="Names are unique over `steps` and `finally`, so that `steps.NAME` is one step.",
        bad="steps:\n  audit: {handler: app.a}\nfinally:\n  audit: {handler: app.b}\n",
        good="steps:\n  audit: {handler: app.a}\nfinally:\n  last_audit: {handler: app.b}\n",
    ),
    "PF240": Explanation(
        title="a child flow that is nowhere",
        text="`validate` knows the files it is given; `compile` and `run` also look into the "
        "database. Give the child's file together with the parent's, or compile it before.",
        bad="  deploy: {flow: deploy_region}\n",
        good="  deploy: {handler: app.deploy}\n",
    ),
    "PF241": Explanation(
        title="flows that run each other without end",
        text="Each run would start another one before it can end.",
        bad="flow: example\nsteps:\n  again: {flow: example}\n",
        good="flow: example\nsteps:\n  again: {handler: app.work, repeat: {until: output.done}}\n",
    ),
    "PF242": Explanation(
        title="a child flow that would refuse its input",
        text="`with` is the child's input: every field without a default, no other field, and "
        "values of the right type. Without `with` a first step hands on this flow's own input, a "
        "later one the outputs of its dependencies by their names, and a map each item.",
        bad="  deploy: {flow: deploy_region, with: {regoin: eu}}\n",
        good="  deploy: {flow: deploy_region, with: {region: eu}}\n",
    ),
}
