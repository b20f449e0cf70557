"""What each code of a finding means, longer than its message: the texts of `explain`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgflow_yaml.explanations.around import AROUND
from pgflow_yaml.explanations.entry import Explanation
from pgflow_yaml.explanations.formulas import FORMULAS
from pgflow_yaml.explanations.keys import KEYS
from pgflow_yaml.explanations.meaning import MEANING
from pgflow_yaml.explanations.outcomes import OUTCOMES
from pgflow_yaml.explanations.yaml_text import YAML_TEXT

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["EXPLANATIONS", "Explanation"]

EXPLANATIONS: Mapping[str, Explanation] = dict(
    sorted((YAML_TEXT | KEYS | MEANING | FORMULAS | OUTCOMES | AROUND).items())
)
