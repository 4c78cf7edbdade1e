"""Whether a simulator can be trusted: held-out predictions, references, and a verdict in words."""

from persim_gym.evaluation.validation.result import SplitResult, Validation
from persim_gym.evaluation.validation.rules import Rule
from persim_gym.evaluation.validation.validate import HORIZONS, validate
from persim_gym.evaluation.validation.verdict import RULES, Grade, Verdict

__all__ = ["HORIZONS", "RULES", "Grade", "Rule", "SplitResult", "Validation", "Verdict", "validate"]
