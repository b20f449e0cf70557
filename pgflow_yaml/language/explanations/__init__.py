"""What each code of a finding means, longer than its message: the texts of `explain`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgflow_yaml.language.explanations.around import AROUND
from pgflow_yaml.language.explanations.entry import Explanation
from pgflow_yaml.language.explanations.formulas import FORMULAS
from pgflow_yaml.language.explanations.keys import KEYS
from pgflow_yaml.language.explanations.meaning import MEANING
from pgflow_yaml.language.explanations.outcomes import OUTCOMES
from pgflow_yaml.language.explanations.yaml_text import YAML_TEXT

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["EXPLANATIONS", "Explanation"]

EXPLANATIONS: Mapping[str, Explanation] = dict(
    sorted((YAML_TEXT | KEYS | MEANING | FORMULAS | OUTCOMES | AROUND).items())
)
