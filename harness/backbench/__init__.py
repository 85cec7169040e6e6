"""backbench: backdoor attacks on, and defenses of, self-supervised image encoders, compared.

``import backbench as bb`` is light: what a name needs is imported when it is used first.
"""

TYPE_CHECKING = False  # typing takes longer to import than Ctrl-C to press
if TYPE_CHECKING:
    from backbench.api.evaluating import evaluate
    from backbench.api.experiment import Experiment, Planned, load
    from backbench.api.finished import open_results, write_site
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

#: The module of each name.
_MODULES = {
    **dict.fromkeys(("Experiment", "Planned", "load"), "backbench.api.experiment"),
    **dict.fromkeys(("open_results", "write_site"), "backbench.api.finished"),
    "evaluate": "backbench.api.evaluating",
    "How": "backbench.execution.session",
    **dict.fromkeys(("Metric", "Results", "Run"), "backbench.report.results"),
}


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name == "__version__":
        return import_module("importlib.metadata").version("backbench")
    if name not in _MODULES:
        raise AttributeError(f"module 'backbench' has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
