"""What each code of a finding means, longer than its message: the texts of `explain`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """The meaning of one code: a title, a few sentences, and YAML that is wrong and right."""

    title: str
    text: str = ""
    bad: str = ""
    good: str = ""


EXPLANATIONS: dict[str, Explanation] = {
    "PF010": Explanation(title="the text is not valid YAML"),
    "PF011": Explanation(title="a key stands twice in its mapping"),
    "PF012": Explanation(title="the file is too large, too deep, or grows too much by aliases"),
    "PF013": Explanation(title="a character or byte that cannot stand in a file"),
    "PF014": Explanation(title="a YAML tag"),
    "PF015": Explanation(title="a merge key, which YAML 1.2 does not have"),
    "PF016": Explanation(title="a key that is no text"),
    "PF017": Explanation(title="a second document in one file"),
    "PF018": Explanation(title="an alias without its anchor, or one that holds itself"),
    "PF019": Explanation(title="a number that YAML cannot hold"),
    "PF020": Explanation(title="an unquoted ${{ … }} inside { } or [ ]"),
    "PF021": Explanation(title="{{ … }} without the $"),
    "PF022": Explanation(title="a number whose text does not come back"),
    "PF023": Explanation(title="an unquoted expression with `: ` or ` #` in it"),
    "PF024": Explanation(title="an unquoted expression that begins with a quote or a bracket"),
    "PF025": Explanation(title="an unquoted expression with commas inside { }"),
    "PF101": Explanation(title="something that is needed is missing"),
    "PF102": Explanation(title="an unknown key"),
    "PF103": Explanation(title="a value of the wrong kind"),
    "PF104": Explanation(title="a value that is not among the allowed ones"),
    "PF105": Explanation(title="a key that has another name here"),
    "PF106": Explanation(title="a text that is no duration"),
    "PF107": Explanation(title="a name that cannot be one"),
    "PF108": Explanation(title="a step name that expressions use for something else"),
    "PF109": Explanation(title="a number out of its range"),
    "PF110": Explanation(title="a part of the language that is not supported yet"),
    "PF111": Explanation(title="a mapping or list that must not be empty"),
    "PF120": Explanation(title="a JSON Schema keyword that input fields do not have"),
    "PF201": Explanation(title="steps that wait for each other"),
    "PF202": Explanation(title="there is no such step"),
    "PF203": Explanation(
        title="an expression reads a step that is not among its ancestors",
        text="An expression may read `steps.S` only where S is certain to have ended: where it is "
        "named in `depends_on`, or comes before one that is. Order comes from `depends_on` "
        "alone, never from what an expression names.",
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
    "PF204": Explanation(title="two keys that exclude each other, or one that needs another"),
    "PF205": Explanation(title="a keyword that does not fit the type of its field"),
    "PF206": Explanation(title="a handler that is no dotted path to a function"),
    "PF207": Explanation(title="an input field that the flow does not declare"),
    "PF208": Explanation(title="a default or enum value that its own field refuses"),
    "PF209": Explanation(title="more steps or dependencies than a flow may have"),
    "PF210": Explanation(title="an operator of another language"),
    "PF211": Explanation(title="one `=` where `==` is meant"),
    "PF212": Explanation(title="a method call"),
    "PF213": Explanation(title="an unknown function"),
    "PF214": Explanation(title="an unknown name in an expression"),
    "PF215": Explanation(title="an unknown or incomplete path"),
    "PF216": Explanation(title="Python syntax that the expression language leaves out"),
    "PF217": Explanation(title="a bracket without its partner"),
    "PF218": Explanation(title="a text that is not closed, or not allowed"),
    "PF219": Explanation(title="no expression"),
    "PF220": Explanation(title="an expression that is too long or nested too deeply"),
    "PF221": Explanation(title="a wrong number of arguments"),
    "PF222": Explanation(title="a template that is not closed"),
    "PF223": Explanation(title="a number that is not allowed in an expression"),
    "PF230": Explanation(title="a name that only another place knows"),
    "PF232": Explanation(title="a `map` that is a list of texts where an expression is meant"),
    "PF236": Explanation(title="an edge between the steps and those of `finally`"),
    "PF237": Explanation(title="a key that does not belong to this kind of step"),
    "PF238": Explanation(title="one name for two steps"),
    "PF301": Explanation(title="a handler that cannot be imported"),
    "PF302": Explanation(title="a handler that cannot be called with what the step gives"),
    "PF303": Explanation(title="two files for one flow"),
    "PF401": Explanation(title="an input that is no JSON"),
    "PF402": Explanation(title="an input that the flow refuses"),
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
