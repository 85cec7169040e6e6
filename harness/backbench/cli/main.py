"""The entry point of ``backbench``: errors that the user can mend end in one sentence.

What it needs is imported in :func:`main`, so that Ctrl-C is heard from the first moment on.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


def main() -> "NoReturn":
    """Run the command; errors that the user can mend end in one sentence and exit code 2."""
    try:
        code = _command()
    except KeyboardInterrupt:
        code = 130
    from backbench.system.stopping import leave

    leave(code)


def _command() -> int:
    import contextlib
    import faulthandler
    import gc
    import sys

    import click

    from backbench.cli.root import cli
    from backbench.errors import BackbenchError, ExitCode, failure_of
    from backbench.system.interrupts import listening_to_end
    from backbench.system.streams import prepare_streams

    # Plans and boards are many small objects without cycles: looking for cycles after every 700
    # of them costs a fifth of the time.
    gc.set_threshold(100_000, 20, 20)
    prepare_streams()
    with contextlib.suppress(OSError, ValueError):  # stderr may be a caller's, and no file
        faulthandler.enable()
    try:
        with listening_to_end():
            code = cli.main(standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.Abort:
        return ExitCode.INTERRUPTED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except BackbenchError as error:
        click.echo(f"backbench: {error}", err=True)
        return error.exit_code
    except (MemoryError, OSError) as error:  # also a full disk, a file that was taken away
        click.echo(f"backbench: {failure_of(error)}", err=True)
        return ExitCode.FAILED
    finally:
        with contextlib.suppress(BackbenchError):
            sys.stdout.flush()
    return code if isinstance(code, int) else ExitCode.OK
