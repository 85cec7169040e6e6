"""Problems of the lines of two lists, reported once where lines share the cause."""

from __future__ import annotations

import os
import re
import shlex
import stat
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence

from backbench.data.decode import IMAGE_SUFFIXES
from backbench.data.image_files import PassedOver, is_passed_folder, reason_to_pass
from backbench.data.list_files import ImageList, Line, folder_names

#: Lines with one cause that are named each; of more the first is named, and their number.
_FEW = 3

#: Problems of a line that is no path and label; the first that holds is named.
_NOT_ROWS = {
    r"#": "but a comment: remove such lines",
    r"[+-]?\d+[\s,;]+\S*[^\s\d,;]": "the label comes first: write the path first",
    r".*[^\s,;][,;]\s*[\"']?[+-]?\d+[\"']?": "something else than a space is between them",
    r".*\s[+-]?\d*\.\d*$": "the label is no whole number",
    r".*\s[+-]?[0-9]{19,}(\s|$)": "the label has more than 18 digits",
    r".*\s[+-]?[0-9]+(\s|$)": "it has several images: write a line for each",
    r"\S+$": "there is no label",
}

_UNUSUAL = (
    ("#", "begin with #: lists have no comments; remove such lines"),
    ("[\"']", "are in quotation marks; remove these"),
    (r"~|\$|[A-Za-z]:|[a-z]+://", "begin with ~, $, a drive or an address; write paths of files"),
    (r".*[,;]$", "end with a comma or semicolon; write a space alone before the label"),
)

#: A cause that lines share: these lines, and the sentence.
_Cause = tuple[list[Line], str]


def together(found: Iterable[tuple[Line, str, str]], total: int) -> Iterator[str]:
    """Report problems of lines: of many with one cause, only how many, and the first.

    Args:
        found: A line, the cause, and what of the line shows it.
        total: Number of lines.
    """
    causes: dict[str, list[tuple[Line, str]]] = {}
    for line, cause, shown in found:
        causes.setdefault(cause, []).append((line, shown))
    for cause, lines in causes.items():
        first, shown = lines[0]
        if len(lines) <= _FEW:
            yield from (f"{line}: {cause}: {one}" for line, one in lines)
        else:
            where = f"line {first.number}: {shown}"
            yield f"{first.file}: {len(lines)} of {total} lines: {cause} ({where})"


def line_problems(images: ImageList, classes: int | None) -> Iterator[str]:
    """Report problems of a list by itself; ``classes`` is ``None`` if their number is open."""
    yield from row_problems(images)
    if classes is None:
        wrong, named = [line for line in images.lines if line.label < 0], "labels count from 0"
    else:
        wrong = [line for line in images.lines if not 0 <= line.label < classes]
        named = f"not one of the {classes} classes, 0 to {classes - 1}"
    found = ((line, named, f"label {line.label}") for line in wrong)
    yield from together(found, len(images.lines))
    yield from _absent_files(images.lines, images.base)


def row_problems(images: ImageList) -> Iterator[str]:
    """Report the lines that are no path and label."""
    if images.one_hot:
        yield (
            f"{images.file}: every line has {images.one_hot} columns with a single 1, which looks "
            "like a one-hot label; write the number of the class after the path instead"
        )
    total = len(images.lines) + len(images.bad)
    if not total:
        yield f"{images.file}: there is no line in it"
    bad = ((line, _not_a_row(line.given), repr(line.given)) for line in images.bad)
    yield from together(bad, total)


def _not_a_row(text: str) -> str:
    why = (why for start, why in _NOT_ROWS.items() if re.match(start, text))
    return f"not `path label`, {next(why, 'the label is no whole number')}"


def _absent_files(lines: Sequence[Line], base: str) -> Iterator[str]:
    """Report the lines that name no file that can be read, and the mistake that they share."""
    absent: list[Line] = []
    odd: list[tuple[Line, str, str]] = []
    for line in lines:
        try:
            mode = os.stat(line.path).st_mode  # noqa: PTH116 - many
        except (OSError, ValueError):
            absent.append(line)
            continue
        if not stat.S_ISREG(mode):
            odd.append((line, "not a regular file", line.path))
        elif not os.access(line.path, os.R_OK):
            odd.append((line, "permission denied", line.path))
    yield from together(odd, len(lines))
    for cause in (_backslashes, _unusual, _near, _other_root, _no_root):
        for taken, sentence in list(cause(absent, lines, base)):
            first = taken[0]
            yield (
                f"{first.file}: {len(taken)} of {len(lines)} paths {sentence} "
                f"(line {first.number}: {first.given})"
            )
            known = {line.number for line in taken}
            absent = [line for line in absent if line.number not in known]
    yield from together(((line, "no such file", line.path) for line in absent), len(lines))


def _backslashes(absent: list[Line], _lines: Sequence[Line], _base: str) -> Iterator[_Cause]:
    taken = [line for line in absent if "\\" in line.given]
    if taken:
        command = f"sed -i 's#\\\\#/#g' {shlex.quote(str(taken[0].file))}"
        yield taken, f"have backslashes between folders; write /: `{command}`"


def _unusual(absent: list[Line], _lines: Sequence[Line], _base: str) -> Iterator[_Cause]:
    for start, sentence in _UNUSUAL:
        taken = [line for line in absent if re.match(start, line.given)]
        if taken:
            yield taken, sentence


def _near(absent: list[Line], _lines: Sequence[Line], _base: str) -> Iterator[_Cause]:
    """Find files whose names differ in Unicode form, in case, or in the suffix alone."""
    real = _finder()
    groups: dict[str, tuple[list[Line], str]] = {}
    for line in absent:
        found = real(line.path)
        if found is None:
            continue
        if _form(found) == _form(line.path):
            cause = (
                "are written in another Unicode form than the files' names (é as one character or "
                "as two); write the list anew, as `backbench data filelist` does"
            )
        elif _form(found).casefold() == _form(line.path).casefold():
            cause = "differ from the files' names in upper and lower case"
        else:
            cause = "end otherwise than the files' names"
        groups.setdefault(cause, ([], found))[0].append(line)
    for cause, (taken, example) in groups.items():
        yield taken, cause if "Unicode" in cause else f"{cause}, as in {os.path.basename(example)}"  # noqa: PTH119


def _finder() -> Callable[[str], str | None]:
    """Return a function that finds the file that a path nearly names."""
    listed: dict[str, dict[str, str]] = {}
    known: dict[str, str | None] = {}

    def names(folder: str) -> dict[str, str]:
        if folder not in listed:
            try:
                entries = sorted(os.listdir(folder))  # noqa: PTH208 - of a str
            except (OSError, ValueError):
                entries = []
            stems = {_form(os.path.splitext(one)[0]).casefold(): one for one in entries}  # noqa: PTH122
            listed[folder] = stems | {_form(one).casefold(): one for one in entries}
        return listed[folder]

    def folder_of(path: str) -> str | None:
        if path not in known:
            above, name = os.path.split(path)
            if os.path.isdir(path) or above == path:  # noqa: PTH112
                known[path] = path
            else:
                found = folder_of(above)
                inside = found and names(found).get(_form(name).casefold())
                known[path] = found and inside and os.path.join(found, inside)  # noqa: PTH118
        return known[path]

    def real(path: str) -> str | None:
        above, name = os.path.split(path)
        folder = folder_of(above)
        if folder is None:
            return None
        stem, suffix = os.path.splitext(_form(name).casefold())  # noqa: PTH122
        keys = [_form(name).casefold(), *([stem] if suffix in {"", *IMAGE_SUFFIXES} else [])]
        found = next((names(folder)[key] for key in keys if key in names(folder)), None)
        whole = found and os.path.join(folder, found)  # noqa: PTH118
        return whole if whole and os.path.isfile(whole) else None  # noqa: PTH113

    return real


def _form(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _other_root(absent: list[Line], _lines: Sequence[Line], _base: str) -> Iterator[_Cause]:
    """Find absolute paths of another machine, by the first folder that is not here."""
    groups: dict[str, list[Line]] = {}
    for line in absent:
        if os.path.isabs(line.given):  # noqa: PTH117 - many
            missing = folder = os.path.dirname(line.path)  # noqa: PTH120
            while not os.path.isdir(folder):  # noqa: PTH112 - a str
                missing, folder = folder, os.path.dirname(folder)  # noqa: PTH120
            if missing != folder:
                groups.setdefault(missing, []).append(line)
    for taken in groups.values():
        if len(taken) > 1:
            folder = os.path.commonpath([os.path.dirname(line.path) for line in taken])  # noqa: PTH120
            program = shlex.quote(f"s#^{folder}#/your/folder#")
            command = f"sed -i {program} {shlex.quote(str(taken[0].file))}"
            sentence = (
                f"are absolute and begin with {folder}, which is not here, and root is for "
                f"relative paths; put your folder there: `{command}`"
            )
            yield taken, sentence


def _no_root(absent: list[Line], lines: Sequence[Line], base: str) -> Iterator[_Cause]:
    if len(absent) == len(lines) > 1:
        what = "" if os.path.isdir(base) else ", which is no folder"  # noqa: PTH112 - a str
        yield absent, f"are not below {base}{what}; set root to the folder that they start from"


def contradictions(train: ImageList, val: ImageList) -> Iterator[str]:
    """Name images that have two labels."""
    first: dict[str, Line] = {}
    cause = "an image with two labels"
    for images in (train, val):
        found = []
        for line in images.lines:
            one = first.setdefault(os.path.normpath(line.path), line)
            if one.label != line.label:
                shown = f"{line.given} has label {line.label}, and label {one.label} in {one}"
                found.append((line, cause, shown))
        yield from together(found, len(images.lines))


def misplaced(train: ImageList, val: ImageList) -> Iterator[str]:
    """Name validation images in a folder whose training images have another label."""
    names = folder_names(train.lines)
    if names is None:
        return
    label_of = dict(zip(names, sorted({line.label for line in train.lines}), strict=True))
    found = []
    for line in val.lines:
        theirs = label_of.get(line.folder, line.label)
        if theirs != line.label:
            shown = f"{line.given} has label {line.label}, its folder has {theirs} in {train.file}"
            found.append((line, "a folder with two labels", shown))
    yield from together(found, len(val.lines))


def list_notes(train_list: ImageList, val_list: ImageList) -> Iterator[str]:
    """Count what is named twice, what is passed over, and what a folder would pass over."""
    for images in (train_list, val_list):
        if images.further:
            one = images.further[0]
            yield (
                f"{images.file}: {len(images.further)} lines go on after the label with what is no "
                f"number, which is passed over (line {one.number}: {one.given!r})"
            )
    train, val = train_list.lines, val_list.lines
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
