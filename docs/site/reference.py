"""The reference that is made from the code: options, commands, hooks, metrics, errors, API.

Each function returns the text of a page; nothing is written here.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import is_dataclass
from importlib import import_module
from typing import Any, Final, NamedTuple

import click
import numpy as np
from pydantic import BaseModel

import backbench
import backbench.errors
import backbench.plugin
from backbench.benchmark.file import BenchmarkFile
from backbench.cli.root import cli
from backbench.errors import BackbenchError, ExitCode
from backbench.plugin import events
from backbench.plugin.hookspecs import BackbenchHooks
from backbench.plugin.infos import KINDS, OWN_METRICS, Column
from backbench.plugin.registry import Registered, load_registry
from backbench.poison.stealth import MEASURED
from backbench.report.defenses import COST, DETECTION, TRADES
from backbench.report.plugins import Option, options_of
from backbench.report.verdicts import COLUMNS as VERDICTS
from backbench.report.verdicts import SCORE
from backbench.results.detection import LENGTHS, detection
from backbench.results.leaderboard import COLUMNS, LIFTS

_FOLDER: Final = "docs/reference/"

_PLURALS: Final = {
    "dataset": "Datasets",
    "attack": "Attacks",
    "backbone": "Backbones",
    "ssl-method": "SSL methods",
    "defense": "Defenses",
    "evaluator": "Evaluators",
    "executor": "Executors",
    "metric": "Metrics of plugins",
    "observer": "Observers",
}


def pages() -> dict[str, str]:
    """Return every generated page by its path, in the order of the navigation."""
    found = {
        "commands.md": commands_page(),
        "options-file.md": tables_page(),
        **{f"options-{kind}.md": options_page(kind) for kind in KINDS if built_in(kind)},
        "list-of-metrics.md": metrics_page(),
        "hooks-in-order.rst": hooks_page(),
        "errors.rst": errors_page(),
        "api.rst": api_page("backbench", backbench.__all__),
        "api-plugin.rst": api_page("backbench.plugin", backbench.plugin.__all__),
    }
    return {f"{_FOLDER}{name}": text for name, text in found.items()}


def built_in(kind: str) -> list[Registered]:
    """Return backbench's own plugins of a kind: a site is not about what else is installed."""
    every = load_registry().all()
    return [
        one for one in every if one.info.kind == kind and one.origin.distribution == "backbench"
    ]


# -- options ---------------------------------------------------------------------------------


def options_page(kind: str) -> str:
    """Return the page of all plugins of a kind: summary, paper, options and presets."""
    title = _PLURALS[kind]
    lines = [f"# {title}: every option", "", "`backbench plugins show NAME` prints the same.", ""]
    for one in built_in(kind):
        lines += _plugin(one)
    return "\n".join(lines)


def _plugin(one: Registered) -> Iterator[str]:
    info = one.info
    yield from (f"## `{info.name}`", "", escaped(info.summary), "")
    if info.paper:
        link = f" <{info.paper.url}>" if info.paper.url else ""
        yield from (f"Paper: {escaped(str(info.paper))}{link}", "")
    if info.presets:
        yield from (f"Presets: {', '.join(f'`{name}`' for name in info.presets)}.", "")
    rows = list(options_of(info.options))
    if not rows:
        yield from ("No options.", "")
    for row in rows:
        yield from _option(row)


def _option(row: Option) -> Iterator[str]:
    default = "required" if row.default == "required" else f"default `{row.default}`"
    parts = [f"`{row.type}`", default, *([row.bounds] if row.bounds else [])]
    yield f"`{row.name}`"
    yield f": {escaped(' · '.join(parts))}"
    if row.description:
        yield from ("", f"  {escaped(row.description)}")
    yield ""


def tables_page() -> str:
    """Return the page of the tables of a benchmark file, with the keys of each."""
    lines = [
        "# Keys of a benchmark file",
        "",
        "[The benchmark file](benchmark-file.md) explains the tables. A table of a plugin has the",
        "options of that plugin, `plugin` (its name, where the table has another) and `preset`.",
        "",
    ]
    for name, field in BenchmarkFile.model_fields.items():
        model = _model_in(field.annotation)
        if model is not None:
            lines += [f"## `{name}`", "", escaped(inspect.getdoc(model) or ""), ""]
            lines += [line for row in options_of(model) for line in _option(row)]
    return "\n".join(lines)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    inner = map(_model_in, getattr(annotation, "__args__", ()))
    return next((model for model in inner if model is not None), None)


# -- commands --------------------------------------------------------------------------------


def commands() -> Iterator[tuple[str, click.Command, click.Context]]:
    """Yield every command of ``backbench`` with its full name and its context."""
    context = click.Context(cli, info_name="backbench")
    yield from _commands("backbench", cli, context)


def _commands(
    path: str, command: click.Command, context: click.Context
) -> Iterator[tuple[str, click.Command, click.Context]]:
    yield path, command, context
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            if inner is not None:
                child = click.Context(inner, info_name=name, parent=context)
                yield from _commands(f"{path} {name}", inner, child)


def commands_page() -> str:
    """Return the page of the commands, with every argument and option."""
    lines = [
        "# Commands",
        "",
        "[Runs](running.md) has the exit codes. `-h` after any command prints its help.",
        "",
    ]
    for path, command, context in commands():
        usage = command.collect_usage_pieces(context)
        lines += [f"## `{path}`", "", "```text", " ".join([path, *usage]), "```", ""]
        lines += [escaped(inspect.cleandoc(command.help or "")), ""]
        for parameter in command.params:
            lines += _parameter(parameter, context)
    return "\n".join(lines)


def _parameter(parameter: click.Parameter, context: click.Context) -> Iterator[str]:
    if not isinstance(parameter, click.Option) or parameter.hidden:
        return
    record = parameter.get_help_record(context)
    if record is not None:
        yield from (f"`{record[0]}`", f": {escaped(' '.join(record[1].split())) or '–'}", "")


# -- metrics ---------------------------------------------------------------------------------


class Metric(NamedTuple):
    """A metric by its full name, with the end of the range that is best for a defender."""

    name: str
    title: str = ""
    bounds: tuple[float, float] | None = None
    best: str = ""


def metrics() -> dict[str, list[Metric]]:
    """Return every metric of backbench, by the section of ``metrics.md`` that defines it."""
    columns = {one.metric: one for one in COLUMNS}
    own = [_metric(columns.get(name, Column(name, "")), OWN_METRICS[name]) for name in OWN_METRICS]
    detectors = [one for one in own if one.name.startswith("detector/")]
    lifts = [Metric(name) for name in LIFTS]
    titles = {one.metric: one for one in DETECTION}
    scores = np.arange(2.0 * max(LENGTHS))
    found = detection(scores, scores > np.median(scores))
    return {
        "Metrics": [one for one in own if one not in detectors]
        + [one for one in lifts if not one.name.startswith("detector/")],
        "Metrics of plugins": [_metric(one.info.column) for one in built_in("metric")],  # type: ignore[attr-defined]
        "Stealth of poisons": [Metric(f"PLUGIN/{name}") for name in sorted(MEASURED)],
        "Detection": [_metric(titles.get(name, Column(name, ""))) for name in found],
        "Cost and trade-off of a defense": [_metric(one) for one in (*COST, *TRADES)],
        "Verdicts on encoders": [_metric(one) for one in dict.fromkeys((*VERDICTS, *SCORE[:2]))],
        "Detectors of triggered images": detectors
        + [one for one in lifts if one.name.startswith("detector/")],
    }


def _metric(column: Column, bounds: tuple[float, float] | None = None) -> Metric:
    return Metric(column.metric, column.title, bounds or column.bounds, column.best or "")


def metrics_page() -> str:
    """Return the page that lists every metric; ``metrics.md`` defines them."""
    lines = ["# List of metrics", "", "[Metrics](metrics.md) has the definitions.", ""]
    for section, found in metrics().items():
        if found:
            lines += [f"## {section}", "", "| name | column | range | best for a defender |"]
            lines += ["|---|---|---|---|", *map(_row, found), ""]
    return "\n".join(lines)


def _row(one: Metric) -> str:
    ends = "–" if one.bounds is None else "[{:g}, {:g}]".format(*one.bounds).replace("inf", "∞")
    return f"| `{one.name}` | {escaped(one.title) or '–'} | {ends} | {one.best or '–'} |"


# -- pages of autodoc ------------------------------------------------------------------------


def hooks_page() -> str:
    """Return the page of the hooks and the events, in the order of a run."""
    found = [name for name, one in vars(events).items() if _is_event(one)]
    lines = [
        *_title("Hooks, in the order of a run"),
        ":doc:`hooks` says what a hook returns and what a plugin is given.",
        "",
        ".. currentmodule:: backbench.plugin",
        "",
        *(f".. automethod:: BackbenchHooks.{name}\n" for name in hooks()),
        *_title("Events", "-"),
        *(line for name in found for line in _auto("class", f"backbench.plugin.events.{name}")),
    ]
    return "\n".join(lines)


def hooks() -> list[str]:
    """Return the names of the hooks, in the order of a run."""
    return [name for name, one in vars(BackbenchHooks).items() if inspect.isfunction(one)]


def _is_event(one: object) -> bool:
    return is_dataclass(one) and getattr(one, "__module__", "") == events.__name__


def errors() -> list[type[BackbenchError]]:
    """Return the errors that end in one sentence, bases first."""
    every = vars(backbench.errors).values()
    return [one for one in every if isinstance(one, type) and issubclass(one, BackbenchError)]


def errors_page() -> str:
    """Return the page of the exit codes and of the errors that lead to them."""
    lines = [
        *_title("Errors and exit codes"),
        ":doc:`running` says what each command returns. A command prints such an error as one",
        "sentence on standard error; from Python it is raised.",
        "",
        *_auto("class", "backbench.errors.ExitCode", ":undoc-members:"),
        *_title("Errors", "-"),
        ".. list-table::\n   :header-rows: 1\n\n   * - error\n     - exit code\n     - is a",
        *(
            f"   * - :class:`~backbench.errors.{one.__name__}`\n"
            f"     - {int(one.exit_code)} ({ExitCode(one.exit_code).name})\n"
            f"     - {one.__mro__[1].__name__}"
            for one in errors()
        ),
        "",
        *(
            line
            for one in errors()
            for line in _auto("exception", f"backbench.errors.{one.__name__}")
        ),
    ]
    return "\n".join(lines)


def api_page(package: str, names: Iterable[str]) -> str:
    """Return the page of a package's public names, each with its docstring."""
    lines = [*_title(f"{package}: every name"), f".. currentmodule:: {package}", ""]
    module = import_module(package)
    for name in names:
        one = getattr(module, name)
        if one is BackbenchHooks:
            lines += [f".. class:: {name}", "", f"   {_first_line(one)} :doc:`hooks-in-order`.", ""]
        elif isinstance(one, type):
            sort = "exception" if issubclass(one, BaseException) else "class"
            lines += _auto(sort, f"{package}.{name}")
        elif inspect.isroutine(one):
            lines += _auto("function", f"{package}.{name}")
        else:
            lines += [f".. data:: {name}", "", f"   {_comment(name, one)}", ""]
    return "\n".join(lines)


def _first_line(one: object) -> str:
    return (inspect.getdoc(one) or "").partition("\n")[0]


def _comment(name: str, one: object) -> str:
    """Return the comment above the definition of a name that is no class and no function."""
    pattern = re.compile(rf"((?:^#: .*\n)+){name}\b", re.MULTILINE)
    for module in [known for key, known in sys.modules.items() if key.startswith("backbench.")]:
        if vars(module).get(name) is one and (found := pattern.search(inspect.getsource(module))):
            return re.sub(r"^#: ", "", found[1], flags=re.MULTILINE).replace("\n", " ").strip()
    return f"``{one}``".replace("typing.", "")


def _auto(sort: str, name: str, *options: str) -> list[str]:
    members = [":members:"] if sort in {"class", "exception"} else []
    return [f".. auto{sort}:: {name}", *(f"   {one}" for one in (*members, *options)), ""]


def _title(text: str, line: str = "=") -> list[str]:
    return [text, line * len(text), ""]


def escaped(text: str) -> str:
    """Return a text for Markdown: signs mean nothing, except backticks."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(
        part if number % 2 else re.sub(r"([\\*_<\[|$#])", r"\\\1", part)
        for number, part in enumerate(parts)
    )
