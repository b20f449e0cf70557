"""Meaning of `webhook`: the name of a secret, a key that tells requests apart, and an input."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgflow_yaml.language.model import Webhook
from pgflow_yaml.language.source import MappingNode
from pgflow_yaml.language.validation.formulas import Formulas
from pgflow_yaml.language.validation.given_input import check_given
from pgflow_yaml.language.validation.limits import read_key

if TYPE_CHECKING:
    from pgflow_yaml.language.validation.findings import Report
    from pgflow_yaml.language.validation.given_input import Accepted
    from pgflow_yaml.language.validation.steps import Known

_OF_SECRETS = "whsec_"


def read_webhook(
    report: Report, root: MappingNode, known: Known, accepted: Accepted
) -> Webhook | None:
    """Read `webhook`; `accepted` are `input` and `input_schema` of the flow."""
    node = report.written(root, "webhook")
    if not isinstance(node, MappingNode):
        return None
    if report.has(root, "after"):
        message = 'the flow has both "webhook" and "after", which gives the input of its runs'
        written = root.entries.get("webhook", (node,))[0]  # it may be mistyped
        report.add("PF205", message, written, fix="remove one; a second flow can have the other")
        return None
    if not report.usable(node):
        return None
    formulas = Formulas(report, known.scope(report, "webhook"))
    secret = report.text(node, "secret")
    key = read_key(report, node, formulas, "webhook.key")
    if key is not None and not key.paths:
        message = "this key reads neither `body` nor `headers`: all requests would start one run"
        fix = "read what differs between requests: `key: body.id`"
        report.add("PF272", message, node.entries["key"][1], fix=fix)
    given = formulas.template(report.value(node, "input"), "webhook.input")
    if given is not None:
        check_given(report, node, given.ast, accepted, giver="the webhook")
    if secret is None:
        return None
    if secret.startswith(_OF_SECRETS):
        message = "this is a secret, not the name of one: anyone who reads the file can sign"
        fix = "write secret: HOOK_SECRET, give this value to the server by that name, and change it"
        report.add("PF272", message, node.entries["secret"][1], fix=fix)
    return Webhook(secret=secret, key=key, input=given)
