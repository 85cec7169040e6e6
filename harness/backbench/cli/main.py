"""The root command."""

from __future__ import annotations

import gc
import importlib
import sys
from typing import NoReturn

import click

from backbench.errors import BackbenchError, ExitCode

#: Our own commands: module and one line of help, so that ``--help`` imports none of them.
COMMANDS = {
    "check": ("backbench.cli.check", "Validate a benchmark file; report all problems at once."),
    "claims": ("backbench.cli.claims", "Judge the claims of a benchmark file."),
    "compare": ("backbench.cli.compare", "Compare methods, attacks, defenses or stores."),
    "data": ("backbench.cli.data", "Make ImageNet-100 and file lists; name a set of classes."),
    "evaluate": ("backbench.cli.evaluate", "Evaluate an encoder that was trained elsewhere."),
    "export": ("backbench.cli.export", "Write what others need to check a claimed number."),
    "import": ("backbench.cli.import_", "Show the rows of other people's bundles beside ours."),
    "plan": ("backbench.cli.plan", "Show cells and stages: what is cached, what is shared."),
    "plugins": ("backbench.cli.plugins", "List the installed plugins and document their options."),
    "poison": ("backbench.cli.poison", "Write a poisoned dataset as image files and lists."),
    "protocol": ("backbench.cli.protocol", "Show and compare the protocols of evaluation."),
    "reproduce": ("backbench.cli.reproduce", "Run, or only plan, a published matrix."),
    "rescore": ("backbench.cli.rescore", "Show the leaderboard counted differently, in seconds."),
    "run": ("backbench.cli.run", "Run what is missing, then show the leaderboard."),
    "schema": ("backbench.cli.schema", "Print the JSON Schema of a benchmark file."),
    "show": ("backbench.cli.show", "Show the leaderboard of what is in the store."),
    "verify": ("backbench.cli.verify", "Recompute what a store or a bundle claims."),
}


class Root(click.Group):
    """The root group: our commands by name, plugins' commands after them."""

    _plugins_added = False

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return all command names, sorted."""
        self._add_plugin_commands()
        return sorted({*COMMANDS, *super().list_commands(ctx)})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command; ours are imported now."""
        if cmd_name in COMMANDS:
            module = importlib.import_module(COMMANDS[cmd_name][0])
            command: click.Command = module.command
            return command
        self._add_plugin_commands()
        return super().get_command(ctx, cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing ours."""
        rows = []
        for name in self.list_commands(ctx):
            if name in COMMANDS:
                rows.append((name, COMMANDS[name][1]))
            else:
                command = super().get_command(ctx, name)
                rows.append((name, command.get_short_help_str(80) if command else ""))
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command; suggest the nearest one for a misspelt name."""
        name = args[0] if args else ""
        if name and not name.startswith("-") and self.get_command(ctx, name) is None:
            from backbench.plugin.registry import nearest

            close = nearest(name, self.list_commands(ctx))
            hint = f" Did you mean {close!r}?" if close else ""
            ctx.fail(f"No such command {name!r}.{hint}")
        return super().resolve_command(ctx, args)

    def _add_plugin_commands(self) -> None:
        if self._plugins_added:
            return
        self._plugins_added = True
        from backbench.plugin.registry import load_registry

        load_registry().add_commands(self)


@click.group(cls=Root, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="backbench")
def cli() -> None:
    """Backdoor attacks on, and defenses of, self-supervised image encoders, compared.

    A benchmark file (benchmarks.toml) names datasets, attacks, methods, defenses, evaluators and
    seeds; `backbench run` runs each distinct stage once and prints a leaderboard.
    """


def main() -> NoReturn:
    """Run the command; errors that the user can mend end in one sentence and exit code 2."""
    # Plans and boards are many small objects without cycles: looking for cycles after every 700
    # of them costs a fifth of the time.
    gc.set_threshold(100_000, 20, 20)
    try:
        code = cli.main(standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(ExitCode.INTERRUPTED)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except BackbenchError as error:
        click.echo(f"backbench: {error}", err=True)
        sys.exit(error.exit_code)
    except BrokenPipeError:  # the reader of a pipe has gone: nobody to tell
        sys.stderr.close()
        sys.exit(ExitCode.OK)
    except OSError as error:  # a full disk, a file that was taken away
        click.echo(f"backbench: {error}", err=True)
        sys.exit(ExitCode.FAILED)
    sys.exit(code if isinstance(code, int) else ExitCode.OK)
