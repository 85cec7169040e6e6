"""backbench: backdoor attacks on, and defenses of, self-supervised image encoders, compared.

``import backbench as bb`` is light: what a name needs is imported when it is used first.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from backbench.api import Experiment, How, Planned, evaluate, load, open_results
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

#: The names that are not the library's own module's.
_OF_RESULTS = frozenset({"Metric", "Results", "Run"})


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'backbench' has no attribute {name!r}")
    module = "backbench.report.results" if name in _OF_RESULTS else "backbench.api"
    return getattr(import_module(module), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
