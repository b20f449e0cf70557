"""PF010 to PF025: the text as YAML."""

from __future__ import annotations

from pgflow_yaml.language.explanations.entry import Explanation

YAML_TEXT = {
    "PF010": Explanation(
        title="the text is not valid YAML",
        text="The reader cannot go on from here, so this finding comes alone. Often the mistake is "
        "a little above: a bracket or quote that was never closed, a tab, or lines that are "
        "indented differently from their neighbours.",
        bad="  greet: {handler: app.greet\n  other: {handler: app.other}\n",
        good="  greet: {handler: app.greet}\n  other: {handler: app.other}\n",
    ),
    "PF011": Explanation(
        title="a key stands twice in its mapping",
        text="Of two equal keys YAML readers keep the last one in silence, which loses a line that "
        "somebody wrote. Here that is refused, with both lines.",
        bad="  greet:\n    handler: app.greet\n    timeout: 5s\n    timeout: 9s\n",
        good="  greet:\n    handler: app.greet\n    timeout: 9s\n",
    ),
    "PF012": Explanation(
        title="the file is too large, too deep, or grows too much by aliases",
        text="A flow file has at most 1 MiB, 50,000 values with its aliases written out, and 64 "
        "levels. Data belongs into the run's input, or into what a step reads.",
        bad=f"x-deep: {'[' * 70}{']' * 70}\n",
        good="x-deep: [[1, 2], [3, 4]]\n",
    ),
    "PF013": Explanation(
        title="a character or byte that cannot stand in a file",
        text="Flow files are UTF-8 without control characters. In double quotes an escape such as "
        "\\x07 or \\u2028 writes the character. PostgreSQL stores no U+0000, so no text has it.",
        bad='  greet: {handler: app.greet, with: "a\\0b"}\n',
        good='  greet: {handler: app.greet, with: "a b"}\n',
    ),
    "PF014": Explanation(
        title="a YAML tag",
        text="`!word` is a tag of YAML. Flows construct nothing from YAML, so no tag means "
        "anything; in an expression it is `not` that negates.",
        bad="  greet:\n    handler: app.greet\n    if: !input.done\n",
        good="input: {done: {type: boolean}}\n"
        "steps:\n  greet:\n    handler: app.greet\n    if: not input.done\n",
    ),
    "PF015": Explanation(
        title="a merge key, which YAML 1.2 does not have",
        text="`<<` was an extension of YAML 1.1. What all steps share goes into `defaults`; a "
        "whole value is repeated by an alias.",
        bad="x-base: &base {timeout: 5s}\n"
        "steps:\n  greet:\n    <<: *base\n    handler: app.greet\n",
        good="defaults: {timeout: 5s}\nsteps:\n  greet: {handler: app.greet}\n",
    ),
    "PF016": Explanation(
        title="a key that is no text",
        text="Keys become keys of JSON objects, which are texts. A number needs quotes.",
        bad="  greet: {handler: app.greet, with: {1: one}}\n",
        good='  greet: {handler: app.greet, with: {"1": one}}\n',
    ),
    "PF017": Explanation(
        title="a second document in one file",
        text="`---` begins another document. A file holds one flow; several files may be given to "
        "`validate`, `compile` and `run`.",
        bad="steps: {greet: {handler: app.greet}}\n---\nflow: second\n",
        good="steps: {greet: {handler: app.greet}}\n",
    ),
    "PF018": Explanation(
        title="an alias without its anchor, or one that holds itself",
        text="`*name` repeats the value that `&name` marked further up. `x-…` keys at the top of a "
        "file are a place for such values.",
        bad="  greet: {handler: app.greet, retry: *patient}\n",
        good="x-patient: &patient {max_attempts: 9}\n"
        "steps:\n  greet: {handler: app.greet, retry: *patient}\n",
    ),
    "PF019": Explanation(
        title="a number that YAML cannot hold",
        text="`.inf` and `.nan` are numbers of YAML, but not of JSON, and a number may be too "
        "large for a double. In quotes they are texts.",
        bad="  greet: {handler: app.greet, with: {limit: .inf}}\n",
        good='  greet: {handler: app.greet, with: {limit: ".inf"}}\n',
    ),
    "PF020": Explanation(
        title="an unquoted ${{ … }} inside { } or [ ]",
        text="Inside of braces and brackets YAML takes the `{` and `}` of a template for its own. "
        "In quotes, or in a block on lines of its own, a template stands for itself.",
        bad="  greet:\n    handler: app.greet\n    with: {name: ${{ run.id }}}\n",
        good='  greet:\n    handler: app.greet\n    with: {name: "${{ run.id }}"}\n',
    ),
    "PF021": Explanation(
        title="{{ … }} without the $",
        text="Unquoted, `{{ x }}` is a mapping of YAML. Quoted it is a text that stays as it is: "
        "templates begin with `${{`.",
        bad='  greet: {handler: app.greet, with: {name: "{{ run.id }}"}}\n',
        good='  greet: {handler: app.greet, with: {name: "${{ run.id }}"}}\n',
    ),
    "PF022": Explanation(
        title="a number whose text does not come back",
        text="`3.10` is the number 3.1 and `010` is ten. A version, a phone number or a code is a "
        "text, and wants quotes. Where the number is meant, write it as it reads: 3.1.",
        bad="  greet: {handler: app.greet, with: {version: 3.10}}\n",
        good='  greet: {handler: app.greet, with: {version: "3.10"}}\n',
    ),
    "PF023": Explanation(
        title="an unquoted expression with `: ` or ` #` in it",
        text="To YAML `: ` begins a value and ` #` a comment, wherever an unquoted text has them. "
        "Quote the whole expression.",
        bad='  greet:\n    handler: app.greet\n    if: run.flow == "a #b"\n',
        good="  greet:\n    handler: app.greet\n    if: 'run.flow == \"a #b\"'\n",
    ),
    "PF024": Explanation(
        title="an unquoted expression that begins with a quote or a bracket",
        text="A value that begins with a quote, `[` or `{` is a quoted text, a list or a mapping "
        "of YAML, and ends where that ends. Quote the whole expression.",
        bad='  greet:\n    handler: app.greet\n    if: "a" == run.flow\n',
        good="  greet:\n    handler: app.greet\n    if: '\"a\" == run.flow'\n",
    ),
    "PF025": Explanation(
        title="an unquoted expression with commas inside { }",
        text="Inside of braces a bracket or comma ends an unquoted text. Quote the whole "
        "expression, or write the step as a block.",
        bad='  greet: {handler: app.greet, if: run.flow in ["a", "b"]}\n',
        good='  greet: {handler: app.greet, if: \'run.flow in ["a", "b"]\'}\n',
    ),
}
