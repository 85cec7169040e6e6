"""backbench: backdoor attacks on, and defenses of, self-supervised image encoders, compared.

``import backbench as bb`` is light: what a name needs is imported when it is used first.
"""

from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from backbench.api import Experiment, Metric, Planned, Results, Run, load, open_results

__version__ = version("backbench")

__all__ = ["Experiment", "Metric", "Planned", "Results", "Run", "load", "open_results"]


def __getattr__(name: str) -> object:
    if name in __all__:
        from backbench import api

        return getattr(api, name)
    raise AttributeError(f"module 'backbench' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
