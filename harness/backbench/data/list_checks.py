"""What is wrong with the lines of two lists, said once where lines share the cause."""

from __future__ import annotations

import os
import shlex
import stat
import unicodedata
from collections.abc import Iterator, Sequence

from backbench.data.image_files import PassedOver, is_passed_folder, reason_to_pass
from backbench.data.list_files import Line


def absent_files(lines: Sequence[Line], base: str) -> Iterator[str]:
    """Say which lines of a list name no file that can be read, and which mistake they share.

    Relative paths start from the folder ``base``.
    """
    absent: list[Line] = []
    for line in lines:
        try:
            mode = os.stat(line.path).st_mode  # noqa: PTH116 - many
        except (OSError, ValueError):
            absent.append(line)
            continue
        if not stat.S_ISREG(mode):
            yield f"{line}: not a regular file: {line.path}"
        elif not os.access(line.path, os.R_OK):
            yield f"{line}: permission denied: {line.path}"
    for cause in (_backslashes, _other_root, _other_form, _no_root):
        taken, sentence = cause(absent, lines, base)
        if taken:
            first = taken[0]
            yield (
                f"{first.file}: {len(taken)} of {len(lines)} paths {sentence} "
                f"(line {first.number}: {first.given})"
            )
            absent = [line for line in absent if line not in set(taken)]
    yield from (f"{line}: no such file: {line.path}" for line in absent)


_Cause = tuple[list[Line], str]


def _backslashes(absent: list[Line], _lines: Sequence[Line], _base: str) -> _Cause:
    taken = [line for line in absent if "\\" in line.given]
    if not taken:
        return [], ""
    command = f"sed -i 's#\\\\#/#g' {shlex.quote(str(taken[0].file))}"
    return taken, f"have backslashes between folders; write /: `{command}`"


def _other_root(absent: list[Line], _lines: Sequence[Line], _base: str) -> _Cause:
    taken = [line for line in absent if os.path.isabs(line.given)]  # noqa: PTH117 - many
    if len(taken) < 2:
        return [], ""
    folder = os.path.commonpath([os.path.dirname(line.path) for line in taken])  # noqa: PTH120
    if os.path.isdir(folder):  # noqa: PTH112 - a str
        return [], ""
    program = shlex.quote(f"s#^{folder}#/your/folder#")
    command = f"sed -i {program} {shlex.quote(str(taken[0].file))}"
    return taken, (
        f"are absolute and begin with {folder}, which is not here, and root is for relative "
        f"paths; put your folder there: `{command}`"
    )


def _other_form(absent: list[Line], _lines: Sequence[Line], _base: str) -> _Cause:
    def exists(line: Line) -> bool:
        forms = {unicodedata.normalize(form, line.path) for form in ("NFC", "NFD")}
        return any(os.path.exists(form) for form in forms)  # noqa: PTH110 - a str

    taken = [line for line in absent if not line.path.isascii() and exists(line)]
    return taken, (
        "are written in another Unicode form than the files' names (é as one character or as "
        "two); write the list anew, as `backbench data filelist` does"
    )


def _no_root(absent: list[Line], lines: Sequence[Line], base: str) -> _Cause:
    taken = absent if len(absent) == len(lines) > 1 else []
    return taken, f"are not below {base}; set root to the folder that they start from"


def contradictions(lines: Sequence[Line]) -> Iterator[str]:
    """Name images that have two labels, by the lines of both lists."""
    first: dict[str, Line] = {}
    for line in lines:
        one = first.setdefault(os.path.normpath(line.path), line)
        if one.label != line.label:
            yield f"{line}: {line.given} has label {line.label}, and label {one.label} in {one}"


def list_notes(train: Sequence[Line], val: Sequence[Line]) -> Iterator[str]:
    """Count images that are named twice, or that a folder would not take for images."""
    known = {os.path.normpath(line.path) for line in train}
    both = [line for line in val if os.path.normpath(line.path) in known]
    if both:
        yield (
            f"{len(both)} of {len(val)} validation images are training images too "
            f"({both[0]}: {both[0].given})"
        )
    for lines in (train, val):
        first = {os.path.normpath(line.path): line for line in reversed(lines)}
        twice = [line for line in lines if first[os.path.normpath(line.path)] is not line]
        if twice:
            yield (
                f"{twice[0].file}: {len(twice)} lines name an image that an earlier line names "
                f"({twice[0]}: {twice[0].given})"
            )
    passed = PassedOver()
    for line in (*train, *val):
        *folders, name = line.given.split("/")
        hidden = any(is_passed_folder(one) for one in folders if one not in {".", ".."})
        reason = "hidden and system folders" if hidden else reason_to_pass(name)
        if reason is not None:
            passed.add(reason, str(line))
    if passed.counts:
        parts = ", ".join(
            f"{one} {passed.counts[one]} ({passed.examples[one]})" for one in passed.counts
        )
        yield f"the lists name images that would be passed over in a folder, and are read: {parts}"
