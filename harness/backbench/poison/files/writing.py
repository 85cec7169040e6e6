"""Write the images on all cores, then lists, contact sheet and summary; continue what is begun.

A manifest grows line by line, in the order of its images, under the name ``….partial``, and is
renamed when it is whole. What was interrupted is thus a prefix: its files are checked against the
hashes in it, and the rest is made. Every image has a seed of its own, so the end is the same.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import astuple, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from backbench.data.decode import decode
from backbench.data.list_files import format_line
from backbench.data.many import spread
from backbench.errors import ConfigError, Problem, StageError
from backbench.images import Pixels
from backbench.poison.files.contact_sheet import Pair, contact_sheet
from backbench.poison.files.encoding import Coding, Job, make
from backbench.poison.files.layout import Part
from backbench.poison.files.layout_plan import Group, Plan
from backbench.poison.files.planning import existing_problems
from backbench.poison.manifest import ManifestEntry, read_manifest
from backbench.store.metadata import PoisonRecord
from backbench.system import files
from backbench.system.children import WORTH_PROCESSES, workers
from backbench.system.json_text import from_json, to_json
from backbench.system.locks import alone_in

#: Images of each part on the contact sheet.
_SHOWN: Final = 4

Progress = Callable[[int], None]
_Run = Callable[[Iterable[Job]], Iterator[str]]


def write(plan: Plan, processes: int, progress: Progress) -> dict[str, Any]:
    """Write all that is planned and not there yet; return the summary, as in ``poison.json``.

    Raises:
        ConfigError: If the folder holds other poison by now, or cannot be written to.
        DataError: If an image cannot be read, or another process is writing to the folder.
        StageError: If what is there was made of other images, the disk is full, or a process was
            killed.
    """
    home, source = plan.layout.home, plan.request.source
    try:
        home.mkdir(parents=True, exist_ok=True)
        with alone_in(home):
            pass
    except (OSError, ValueError) as error:
        problem = Problem("out", f"{home}: {files.read_failure(error)}; choose another folder")
        raise ConfigError(source, [problem]) from error
    try:
        with alone_in(home):
            return _write(plan, processes, progress)
    except OSError as error:
        where = f"{error.filename or home}: {files.read_failure(error)}"
        raise StageError(f"{where}; mend that, and the same command continues") from error


def _write(plan: Plan, processes: int, progress: Progress) -> dict[str, Any]:
    request, layout = plan.request, plan.layout
    # Another process may have been there since the plan was made.
    problems = list(existing_problems(plan))
    if problems:
        raise ConfigError(request.source, problems)
    if not layout.summary.exists():
        _write_json(layout.summary, {"request": plan.identity})
    _write_images(plan, processes, progress)
    for part in plan.parts:
        files.write(layout.lists[part], "".join(_lines(plan, part)))
    _write_triggers(plan)
    with files.replacing(layout.sheet) as sheet:
        contact_sheet(list(_pairs(plan))).save(sheet, "PNG")
    summary = _summary(plan)
    _write_json(layout.summary, summary)
    return summary


def _write_images(plan: Plan, processes: int, progress: Progress) -> None:
    request = plan.request
    coding = Coding(
        plan.attack,
        request.seed,
        request.format,
        request.quality,
        alike=request.poison.reencode_clean,
    )
    total = sum(len(group.indices) for group in plan.groups)
    makers: AbstractContextManager[_Run]
    if processes == 1 or total < WORTH_PROCESSES:
        makers = nullcontext(partial(map, partial(make, coding)))
    else:
        makers = workers(processes, partial, make, coding)
    with makers as run:
        for group in plan.groups:
            _write_group(plan, group, run, progress)


def describe(plan: Plan, summary: Mapping[str, Any]) -> Iterator[str]:
    """Yield lines for people: the three rates of the summary, and where things are."""
    request, layout = plan.request, plan.layout
    attack, dataset = request.attack.name, request.dataset.name
    yield f"attack {attack!r} on dataset {dataset!r}, seed {request.seed}"
    of_class = summary["rate_of_target_class"]
    whole = f"{summary['rate_of_dataset']:.4%} of the dataset"
    if of_class is not None:
        whole += f", {of_class:.2%} of class {summary['target_name']!r}"
    added = f" ({summary['added']:,} added)" if summary["added"] else ""
    images = len(plan.train) + summary["added"]
    yield f"rate: {summary['poisons']:,}{added} of {images:,} training images, {whole}"
    for part in plan.parts:
        stamped, clean = (
            sum(len(g.indices) for g in plan.groups if g.part == part and g.stamped == wanted)
            for wanted in (True, False)
        )
        kinds = [f"{stamped:,} triggered"] if stamped else []
        kinds += [f"{clean:,} clean"] if clean else []
        yield f"{part}: {' and '.join(kinds)} images in {layout.images[part]}"
        yield f"  list {layout.lists[part]}"
        if stamped:
            yield f"  manifest {layout.manifests[part]}"
    yield f"look at {layout.sheet}; all in {layout.summary}"


# -- images ----------------------------------------------------------------------------------


def _write_group(plan: Plan, group: Group, run: _Run, progress: Progress) -> None:
    """Check what is there of a group, then make the rest."""
    final = group.manifest
    begun = final.with_name(f"{final.name}.partial")
    final.parent.mkdir(parents=True, exist_ok=True)
    there = final if final.exists() else begun
    there.touch()
    count, end = _check(plan, group, there, run, progress)
    if there == final:
        if count == len(group.indices) and end == final.stat().st_size:
            return
        final.replace(begun)
    with begun.open("r+b") as manifest:
        manifest.truncate(end)
        manifest.seek(end)
        jobs = (_job(plan, group, index) for index in group.indices[count:])
        for line in run(jobs):
            manifest.write(line.encode())
            manifest.flush()
            progress(1)
    begun.replace(final)


def _check(
    plan: Plan, group: Group, manifest: Path, run: _Run, progress: Progress
) -> tuple[int, int]:
    """Make missing and changed images of a manifest again; return its right lines and bytes."""
    waiting: deque[bytes] = deque()

    def known() -> Iterator[Job]:
        with manifest.open("rb") as file:
            for index, line in zip(group.indices, file, strict=False):
                job = _job(plan, group, index)
                sha256 = _hash_in(line, job)
                if not sha256:
                    return
                waiting.append(line)
                yield replace(job, sha256=sha256)

    count = end = 0
    for made in run(known()):
        line = waiting.popleft()
        if made and made.encode() != line:
            raise StageError(
                f"{manifest}: line {count + 1} was made of another image than the dataset has "
                "now; remove the folder's content, or choose another folder"
            )
        count, end = count + 1, end + len(line)
        progress(1)
    return count, end


def _hash_in(line: bytes, job: Job) -> str:
    """Return the file's hash that a manifest's line states; "" if it is not the job's line."""
    try:
        fields = from_json(line) if line.endswith(b"\n") else {}
        own = (fields["index"], fields["source"], fields["label"], fields["file"])
        sha256 = str(fields["file_sha256"])
    except (ValueError, KeyError, TypeError):
        return ""
    return sha256 if own == (*astuple(job.who), job.name) else ""


def _job(plan: Plan, group: Group, index: int) -> Job:
    images = group.images
    return Job(
        who=plan.ref(group, index),
        split=images.split,
        image=plan.before(group, index),
        square=images.square,
        stamped=group.stamped,
        path=plan.path(group.part, images.split, index),
        name=plan.names[images.split][index],
        parts=plan.composed_of(group, index),
    )


# -- what goes with them -----------------------------------------------------------------------


def _lines(plan: Plan, part: Part) -> Iterator[str]:
    """Yield the lines of a part's list, in the order of the dataset; added poisons follow."""
    groups = {group.stamped: group for group in plan.groups if group.part == part}
    images = next(iter(groups.values())).images
    boxes = _columns(plan, groups[True]) if True in groups else {}
    for index, label in enumerate(plan.labels[images.split]):
        if index in boxes or plan.writes_clean:
            path = plan.path(part, images.split, index)
        else:
            path = os.path.abspath((images.paths or ())[index])  # noqa: PTH100 - many
        yield format_line(path, label, *boxes.get(index, ())) + "\n"


def _columns(plan: Plan, group: Group) -> dict[int, tuple[int, ...]]:
    """Return the further columns of each stamped image's line."""
    if not plan.request.poison.patch_columns:
        return dict.fromkeys(group.indices, ())
    return {
        mark.index: tuple(number for box in mark.boxes for number in box)
        for mark in read_manifest(group.manifest)
    }


def _write_triggers(plan: Plan) -> None:
    """Write the trigger as it is put on images; once more for the validation if it differs."""
    train, val = (plan.attack.trigger_image(split) for split in ("train", "val"))
    home = plan.layout.trigger
    if train is not None:
        Image.fromarray(train).save(home)
        if val is not None and not np.array_equal(train, val):
            Image.fromarray(val).save(home.with_name("trigger-val.png"))


def _pairs(plan: Plan) -> Iterator[Pair]:
    """Yield some triggered images of every part that is there, of those written before too."""
    for group in plan.stamped:
        if not group.manifest.is_file():
            continue
        wanted = {group.indices[i] for i in spread(len(group.indices), _SHOWN)}
        for mark in read_manifest(group.manifest):
            path = plan.path(group.part, group.images.split, mark.index)
            if mark.index not in wanted or not os.path.exists(path):  # noqa: PTH110 - many
                continue
            before = plan.before(group, mark.index)
            yield Pair(
                group.images.decoded(mark.index) if before is not None else _first_part(plan, mark),
                decode(path),
                mark.boxes,
                (f"{group.part}: {mark.source}", _caption(plan, group, mark)),
            )


def _caption(plan: Plan, group: Group, mark: ManifestEntry) -> str:
    name = plan.request.metadata.classes[plan.labels[group.images.split][mark.index]]
    if not mark.boxes:
        return f"class {name}, without a trigger"
    first = ", ".join(map(str, mark.box))
    more = f" and {len(mark.boxes) - 1} more" if len(mark.boxes) > 1 else ""
    return f"class {name}, box {first}{more}, opacity {mark.opacity:g}"


def _first_part(plan: Plan, mark: ManifestEntry) -> Pixels:
    """Return the first image that an added poison is made of."""
    part = mark.parts[0]
    pixels: Pixels = plan.access.set(part.set).image(part.index)[..., :3]
    return pixels


def _summary(plan: Plan) -> dict[str, Any]:
    """Return the request and its outcome, of parts written before too."""
    home = plan.layout.home
    parts: dict[str, dict[str, Any]] = {}
    for part, manifest in plan.layout.manifests.items():
        found: dict[str, Any] = {}
        clean = plan.layout.clean_manifest(part)
        for kind, file in (("stamped", manifest), ("clean", clean)):
            if file.is_file():
                with file.open("rb") as lines:
                    count = sum(1 for _ in lines)
                found[kind] = {
                    "images": count,
                    "manifest": os.path.relpath(file, home),
                    "manifest_sha256": files.sha256(file),
                }
        if found:
            named = {"folder": plan.layout.images[part], "list": plan.layout.lists[part]}
            parts[part] = {name: os.path.relpath(path, home) for name, path in named.items()}
            parts[part] |= found
    return {
        "request": plan.identity,
        **PoisonRecord.of(
            plan.target,
            plan.request.metadata.classes,
            plan.chosen,
            plan.train.labels,
            plan.poisons.threat,
        ).to_json(),
        "images": {"train": len(plan.train), "val": len(plan.val)},
        "parts": parts,
    }


def _write_json(path: Path, content: dict[str, Any]) -> None:
    files.write(path, to_json(content, indent=2) + "\n")
