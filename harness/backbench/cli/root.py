"""The root command, and its own commands by name."""

from __future__ import annotations

import click

from backbench.cli.with_plugins import WithPlugins

_CLI = "backbench.cli."

#: Module and one line of help of each command, so that ``--help`` imports none of them.
COMMANDS = {
    "check": (f"{_CLI}check", "Validate a benchmark file; report all problems at once."),
    "claims": (f"{_CLI}claims", "Judge the claims of a benchmark file."),
    "compare": (f"{_CLI}compare", "Compare methods, attacks, defenses or stores."),
    "data": (f"{_CLI}data", "Make ImageNet-100 and file lists; name a set of classes."),
    "evaluate": (f"{_CLI}evaluate", "Evaluate an encoder that was trained elsewhere."),
    "export": (f"{_CLI}export", "Write what others need to check a claimed number."),
    "import": (f"{_CLI}import_", "Show the rows of other people's bundles beside ours."),
    "plan": (f"{_CLI}plan", "Show cells and stages: what is cached, what is shared."),
    "plugin": (f"{_CLI}plugin", "Write a plugin of your own, from a template."),
    "plugins": (f"{_CLI}plugins", "List the installed plugins and document their options."),
    "poison": (f"{_CLI}poison", "Write a poisoned dataset as image files and lists."),
    "protocol": (f"{_CLI}protocol", "Show and compare the protocols of evaluation."),
    "report": (f"{_CLI}report", "Write the results as one HTML page, or as a site of bundles."),
    "reproduce": (f"{_CLI}reproduce", "Run, or only plan, a published matrix."),
    "run": (f"{_CLI}run", "Run what is missing, then show the leaderboard."),
    "schema": (f"{_CLI}schema", "Print the JSON Schema of a benchmark file."),
    "show": (f"{_CLI}show", "Show the leaderboard of what is in the store."),
    "store": (f"{_CLI}store", "Look after a store: remove what no stage needs."),
    "verify": (f"{_CLI}verify", "Recompute what a store or a bundle claims."),
    "zoo": (f"{_CLI}zoo", "Write, or check, a hashed set of encoders with cards."),
}


_SETTINGS = {"help_option_names": ["-h", "--help"]}


@click.group(cls=WithPlugins, modules=COMMANDS, context_settings=_SETTINGS)
@click.version_option(package_name="backbench")
def cli() -> None:
    """Backdoor attacks on, and defenses of, self-supervised image encoders, compared.

    A benchmark file (benchmarks.toml) names datasets, attacks, methods, defenses, evaluators and
    seeds; `backbench run` runs each distinct stage once and prints a leaderboard.
    """
