"""Kill and refuse at every file operation and at random moments, then compare what comes out.

``python -m tests.crash --kills 300``; the same command continues what was stopped.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tests.crash import world
from tests.crash.kills import Schedule
from tests.crash.steps import Step, Steps

#: Kills of one store, at most, before it is run to its end.
_KILLS_EACH = 5


class Results:
    """What has been tried, a line of JSON each, in a file: the count, and what was wrong.

    Args:
        path: The file; what it holds is not tried again.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        self._known = {entry["case"]: entry for entry in map(json.loads, lines)}

    def attempt(
        self, case: str, work: Callable[[], tuple[dict[str, int], list[str]]]
    ) -> Mapping[str, int]:
        """Try a case unless that was done; return how many faults of each kind it had."""
        if case not in self._known:
            counts, problems = work()
            entry = {"case": case, "counts": counts, "problems": problems}
            self._known[case] = entry
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")
            for problem in problems:
                print(f"{case}: {problem}", flush=True)
        counted: Mapping[str, int] = self._known[case]["counts"]
        return counted

    def table(self) -> Iterator[str]:
        """Yield lines: how many faults of each kind, and in how many cases something was wrong."""
        total: Counter[str] = Counter()
        for entry in self._known.values():
            total.update(entry["counts"])
        wrong = sum(bool(entry["problems"]) for entry in self._known.values())
        yield from (f"{name:40} {count:6}" for name, count in sorted(total.items()))
        yield f"{'cases':40} {len(self._known):6}"
        yield f"{'cases with something wrong':40} {wrong:6}"


def sample(steps: Iterable[Step], count: int | None, seed: int) -> list[Step]:
    """Return all faults, or some: first one of each way to fail at each kind of operation.

    Of these come first those at the operations that publish a stage.
    """
    drawn = list(steps)
    if count is None:
        return drawn
    np.random.default_rng(seed).shuffle(drawn)
    seen: Counter[tuple[str, str]] = Counter()
    ranks = []
    for step in drawn:
        ranks.append(seen[step.act, step.name])
        seen[step.act, step.name] += 1
    order = sorted(range(len(drawn)), key=lambda at: (ranks[at], not drawn[at].publishes))
    return [drawn[at] for at in order[:count]]


def main(arguments: list[str]) -> int:
    """Try the faults; return 1 if something was wrong."""
    parser = argparse.ArgumentParser("tests.crash", description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("crash"))
    parser.add_argument("--stages", type=int, help="stages that have them; default: all")
    parser.add_argument("--steps", type=int, help="faults at file operations; default: all")
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args(arguments)
    folder = asked.folder.absolute()
    if not folder.exists():
        folder.mkdir(parents=True)
        world.make(folder)
    results = Results(folder / "results.jsonl")
    steps = Steps(folder)
    if asked.steps != 0:
        for step in sample(steps.all(asked.stages, asked.seed), asked.steps, asked.seed):
            results.attempt(str(step), lambda step=step: _step(steps, step))
    if asked.kills:
        _kill(folder, results, steps.whole, asked.kills, asked.seed)
    lines = list(results.table())
    print("\n".join(lines))
    return int(not lines[-1].endswith(" 0"))


def _step(steps: Steps, step: Step) -> tuple[dict[str, int], list[str]]:
    problems = list(steps.problems(step))
    if problems:
        steps.mend()
    return {f"{step.act} at a step": 1}, problems


def _kill(
    folder: Path, results: Results, whole: dict[str, dict[str, Any]], kills: int, seed: int
) -> None:
    done = 0
    while done < kills:
        schedule = Schedule(folder, whole, seed, min(_KILLS_EACH, kills - done))

        def work(schedule: Schedule = schedule) -> tuple[dict[str, int], list[str]]:
            problems = list(schedule.problems())
            counts = {f"kill of {target}": count for target, count in schedule.kills.items()}
            return counts, problems

        done += sum(results.attempt(f"kills of seed {seed}", work).values())
        seed += 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
