"""``python -m benchmarks [PART …]``: measure, print a table, keep results, write the page."""

from __future__ import annotations

import argparse
import os
import pkgutil
import shutil
import sys
import tempfile
import time
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

from tabulate import tabulate

from benchmarks import machine, parts, published, results
from benchmarks.page import page, table
from benchmarks.rounds import REPEATS, ROOT
from benchmarks.rows import Absent, GateError, Part, Row, Settings, Table

#: Bytes that scratch files of all parts take at most.
_ROOM = 4 << 30


def names() -> list[str]:
    """Return the names of all parts."""
    return sorted(one.name for one in pkgutil.iter_modules(parts.__path__) if one.name[0] != "_")


def main() -> int:
    """Run the command; 1 if a gate failed or a bar was missed."""
    if sys.argv[1:2] == ["gpu"]:
        from benchmarks.gpu.command import main as gpu

        return gpu(sys.argv[2:])
    given = _arguments()
    try:
        folder = published.find(given.published)
    except published.PeerMissingError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    data = os.environ.get("BACKBENCH_TEST_DATA")
    failed = False
    with tempfile.TemporaryDirectory(prefix="backbench-bench-", dir=_memory()) as scratch:
        settings = Settings(
            rounds=given.rounds,
            repeats=given.repeats,
            scratch=given.scratch or Path(scratch),
            published=folder,
            data=Path(data) if data else None,
            say=lambda text: print(f"  {text}", file=sys.stderr, flush=True),
        )
        for name in given.parts or names():
            print(f"{name}:", file=sys.stderr, flush=True)
            failed |= not _run(name, settings)
    if given.page is not None:
        found = {path.stem: results.read(path) for path in sorted(results.FOLDER.glob("*.json"))}
        given.page.write_text(page(found), encoding="utf-8")
        print(f"wrote {given.page}", file=sys.stderr)
    return int(failed)


def _memory() -> str | None:
    """Return a folder that lies in memory, so that no disk is timed, where one has room."""
    folder = "/dev/shm"
    roomy = os.path.isdir(folder) and shutil.disk_usage(folder).free > _ROOM  # noqa: PTH112
    return folder if roomy else None


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "parts",
        nargs="*",
        choices=[[], *names()],
        metavar="PART",
        help=f"{', '.join(names())}; gpu is a command of its own",
    )
    parser.add_argument("--rounds", type=int, default=5, help="that count; 5")
    parser.add_argument(
        "--repeats", type=int, default=REPEATS, help=f"of a disturbed round, at most; {REPEATS}"
    )
    parser.add_argument("--published", type=Path, help=f"folder of {published.ADDRESS}")
    parser.add_argument("--scratch", type=Path, help="folder for files, kept; a temporary one")
    parser.add_argument(
        "--page",
        type=Path,
        nargs="?",
        const=ROOT / "docs" / "results" / "performance.md",
        help="write the page from the results of all parts that have been run",
    )
    return parser.parse_args()


def _run(name: str, settings: Settings) -> bool:
    module = import_module(f"benchmarks.parts.{name}")
    assert isinstance(module, Part)
    start = time.monotonic()
    try:
        rows = module.rows(settings)
    except GateError as error:
        print(f"error: {name}: {error}", file=sys.stderr)
        return False
    metadata = {
        "date": datetime.now(UTC).date().isoformat(),
        "commit": machine.commit(),
        "minutes": (time.monotonic() - start) / 60,
        "rounds": settings.rounds,
        "machine": machine.describe(),
        "versions": machine.versions(),
    }
    results.write(results.FOLDER / f"{name}.json", rows, metadata)
    measured = [row for row in rows if isinstance(row, Row)]
    head, *body = table(measured)
    print(tabulate(body, head, tablefmt="simple"), flush=True)
    for row in rows:
        if isinstance(row, Table):
            print(tabulate(row.lines, row.head, tablefmt="simple", disable_numparse=True))
            print(row.text, flush=True)
        elif isinstance(row, Absent):
            print(f"not measured: {row.stage}, against {row.against}: {row.why}")
    return all(row.met is not False for row in measured)


if __name__ == "__main__":
    sys.exit(main())
