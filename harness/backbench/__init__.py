"""backbench: backdoor attacks on, and defenses of, self-supervised image encoders, compared.

``import backbench as bb`` is light: what a name needs is imported when it is used first.
"""

TYPE_CHECKING = False  # typing takes longer to import than Ctrl-C to press
if TYPE_CHECKING:
    from backbench.api import Experiment, Planned, evaluate, load, open_results, write_site
    from backbench.execution.session import How
    from backbench.report.results import Metric, Results, Run

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
    "write_site",
]

#: The names that are not of ``backbench.api``.
_ELSEWHERE = {
    "How": "backbench.execution.session",
    **dict.fromkeys(("Metric", "Results", "Run"), "backbench.report.results"),
}


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name == "__version__":
        return import_module("importlib.metadata").version("backbench")
    if name not in __all__:
        raise AttributeError(f"module 'backbench' has no attribute {name!r}")
    return getattr(import_module(_ELSEWHERE.get(name, "backbench.api")), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
