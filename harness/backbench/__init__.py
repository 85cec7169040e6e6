"""backbench: backdoor attacks on, and defenses of, self-supervised image encoders, compared.

``import backbench as bb`` is light: what a name needs is imported when it is used first.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from backbench.api import Experiment, Planned, evaluate, load, open_results
    from backbench.execution.session import How
    from backbench.report.results import Metric, Results, Run

__version__ = version("backbench")

__all__ = [
    "Experiment",
    "How",
    "Metric",
    "Planned",
    "Results",
    "Run",
    "evaluate",
    "load",
    "open_results",
]

#: The names that are not of ``backbench.api``.
_ELSEWHERE = {
    "How": "backbench.execution.session",
    **dict.fromkeys(("Metric", "Results", "Run"), "backbench.report.results"),
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'backbench' has no attribute {name!r}")
    return getattr(import_module(_ELSEWHERE.get(name, "backbench.api")), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
