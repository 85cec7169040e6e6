"""The ``backbench`` command: errors that the user can mend end in one sentence."""

from __future__ import annotations

import gc
import sys
from typing import NoReturn

import click

from backbench.cli.root import COMMANDS, Root
from backbench.errors import BackbenchError, ExitCode


@click.group(cls=Root, modules=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
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
    except BrokenPipeError:  # the reader of a pipe has gone
        sys.stderr.close()
        sys.exit(ExitCode.OK)
    except OSError as error:  # a full disk, a file that was taken away
        click.echo(f"backbench: {error}", err=True)
        sys.exit(ExitCode.FAILED)
    sys.exit(code if isinstance(code, int) else ExitCode.OK)
