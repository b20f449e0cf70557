"""PF301 to PF521: what is around a flow: handlers, inputs, test files."""

from __future__ import annotations

from pgflow_yaml.language.explanations.entry import Explanation

AROUND = {
    "PF301": Explanation(
        title="a handler that cannot be imported",
        text="The module or the function is not there, may not be imported here, or is nothing "
        "that can be called once and return a value (a generator, say). Handlers are looked for in "
        "the app dir and in packages named by `--allow`. `validate` imports only with `--import`.",
        bad="  a: {handler: app.taks.a}\n",
        good="  a: {handler: app.tasks.a}\n",
    ),
    "PF302": Explanation(
        title="a handler that cannot be called with what the step gives",
        text="A mapping under `with` gives keyword arguments: each name is a parameter, and each "
        "parameter without a default is given. Anything else, and a step without `with`, gives "
        "one argument. A parameter `ctx` is filled by the worker.",
        bad="  greet: {handler: app.greet, with: {nmae: Ada}}\n",
        good="  greet: {handler: app.greet, with: {name: Ada}}\n",
    ),
    "PF303": Explanation(
        title="two files for one flow",
        text="The files given to one command have flows of different names: a name is one flow.",
        bad="flow: order\n",
        good="flow: order_again\n",
    ),
    "PF401": Explanation(
        title="an input that is no JSON",
        text="`--input` takes a JSON text, `@file`, or name=value for single fields.",
        bad="# --input '{order_id: 7}'\n",
        good="# --input '{\"order_id\": 7}'\n",
    ),
    "PF402": Explanation(
        title="an input that the flow refuses",
        text="Every field without a default is given, no other field is, and each value fits what "
        "the flow says under `input`. Nothing was started.",
        bad="# --input order_id=seven\n",
        good="# --input order_id=7\n",
    ),
    "PF501": Explanation(title="a test file in which something is missing"),
    "PF502": Explanation(title="an unknown key in a test file"),
    "PF503": Explanation(title="a value of the wrong kind in a test file"),
    "PF504": Explanation(title="a value that cannot be so in a test file"),
    "PF505": Explanation(title="a test of a step that the flow does not have"),
    "PF506": Explanation(title="a mock that does not fit its step"),
    "PF507": Explanation(title="a test of a flow that is not there"),
    "PF508": Explanation(title="a case whose input the flow refuses"),
    "PF509": Explanation(title="a step with neither a mock nor a handler"),
    "PF510": Explanation(title="a case that the database refused to play"),
    "PF520": Explanation(title="a run that did not come to what its case expects"),
    "PF521": Explanation(title="a run in which nothing can happen any more"),
}
