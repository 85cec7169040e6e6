"""Protocol cards: what must be the same before one table may hold two numbers."""

from backbench.benchmark.protocols.card import (
    EVERY,
    EvaluatorCard,
    Fixed,
    Protocol,
    denominator_of,
    find_protocol,
    protocol_ids,
)
from backbench.benchmark.protocols.rules import (
    Terms,
    data_problems,
    leaves,
    method_problem,
    no_such_evaluator,
    plugin_of,
    terms_of,
)

__all__ = [
    "EVERY",
    "EvaluatorCard",
    "Fixed",
    "Protocol",
    "Terms",
    "data_problems",
    "denominator_of",
    "find_protocol",
    "leaves",
    "method_problem",
    "no_such_evaluator",
    "plugin_of",
    "protocol_ids",
    "terms_of",
]
