"""``backbench data fingerprint``."""

from __future__ import annotations

import click

from backbench.data.class_counts import look_at
from backbench.report.image_sets import contents_note, contents_text


@click.command("fingerprint")
@click.argument("path", metavar="PATH|NAME")
def command(path: str) -> None:
    """Report which known set of classes PATH holds.

    PATH is a folder with train and val, or with a folder a class; a list of images; a list of
    classes; or the name of a class list that ships with backbench.
    """
    contents = look_at(path)
    click.echo(contents_text(contents))
    if note := contents_note(contents):
        click.echo(note, err=True)
