"""``backbench data``."""

from __future__ import annotations

import click

from backbench.cli.groups import LazyGroup

_DATA = "backbench.cli.data."

_COMMANDS = {
    "filelist": (f"{_DATA}filelist", "Write lists of images in the published form."),
    "fingerprint": (f"{_DATA}fingerprint", "Report which known set of classes PATH holds."),
    "imagenet100": (f"{_DATA}imagenet100", "Take the classes of ImageNet-100 out of ImageNet."),
}


@click.group("data", cls=LazyGroup, modules=_COMMANDS, no_args_is_help=True)
def command() -> None:
    """Make ImageNet-100 and file lists; name a set of classes."""
