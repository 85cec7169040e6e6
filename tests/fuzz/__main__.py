"""Give changed files to every reader; count what came out.

``python -m tests.fuzz --examples 20000``; the inputs that something is wrong with are kept.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.fuzz import samples
from tests.fuzz.guard import Guard, command
from tests.fuzz.readers import READERS, Case

#: Inputs of one call of hypothesis: it remembers all that it has tried.
_CHUNK = 500


def main(arguments: list[str]) -> int:
    """Try the inputs; return 1 if something was wrong."""
    parser = argparse.ArgumentParser("tests.fuzz", description=__doc__)
    parser.add_argument("--examples", type=int, default=20_000, help="of all readers together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--readers", nargs="+", choices=READERS, default=list(READERS))
    parser.add_argument("--kept", type=Path, help="folder for inputs that something is wrong with")
    asked = parser.parse_args(arguments)
    kept = asked.kept and asked.kept.absolute()
    root = Path(tempfile.mkdtemp(prefix="fuzz-"))
    guard = Guard(root)
    sample = root / "sample"
    sample.mkdir()
    os.chdir(sample)
    samples.make(sample, lambda *line: command(line))
    guard.limit_memory()
    found: Counter[tuple[str, str]] = Counter()
    total = 0
    each = -(-asked.examples // len(asked.readers))
    for name in asked.readers:
        tried = 0
        guard.codes.clear()
        for begin in range(0, each, _CHUNK):
            count = min(_CHUNK, each - begin)
            for one, problems in _attempt(name, guard, root, count, asked.seed + begin):
                tried += 1
                for problem in problems:
                    found[name, problem] += 1
                    if kept and found[name, problem] == 1:
                        _keep(kept / f"{name}-{len(found)}", problem, one)
        codes = ", ".join(f"{code}: {count}" for code, count in sorted(guard.codes.items()))
        print(f"{name:12} {tried:7}   exit codes {codes}", flush=True)
        total += tried
    os.chdir("/")
    shutil.rmtree(root, ignore_errors=True)
    for (name, problem), count in found.items():
        print(f"{count:5} x {name}: {problem}")
    print(f"{total} inputs, {len(found)} problems")
    return int(bool(found))


def _attempt(
    name: str, guard: Guard, root: Path, count: int, number: int
) -> list[tuple[Case, list[str]]]:
    """Draw inputs of a reader, and try each in a copy of the sample."""
    tried: list[tuple[Case, list[str]]] = []
    sample, folder = root / "sample", root / "case"

    @st.composite
    def cases(draw: st.DrawFn) -> Case:
        return READERS[name](draw, sample)

    @seed(number)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(cases())
    def attempt(case: Case) -> None:
        os.chdir(root)
        samples.copy(sample, folder)
        os.chdir(folder)
        for path, content in case.files.items():
            Path(path).write_bytes(content)
        tried.append((case, list(guard.problems(case.work))))

    attempt()
    return tried


def _keep(folder: Path, problem: str, case: Case) -> None:
    """Write an input, and what was wrong with it, into a folder."""
    for path, content in case.files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    work = " ".join(case.work) if isinstance(case.work, tuple) else "(called)"
    (folder / "problem.txt").write_text(f"{work}\n{problem}\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
