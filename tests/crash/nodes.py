"""Kill one of two Ray nodes at random moments of a run, then compare what comes out.

``python -m tests.crash.nodes FILE --kills 3 --seed 0``: the file runs under ``local`` first. A killed
node (SIGKILL of its raylet) is replaced by a new one.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.workers.ray_stages import add_node, cluster, predictions

from backbench import load
from backbench.store.store import Store


class Killer:
    """Kills a node each time that so many stages are done; a new node takes its place.

    Ray starts nodes in the main thread only, so the run has a thread of its own.

    Args:
        made: The cluster.
        store: The store of the run.
        moments: Numbers of stages.
        rng: Draws the node.

    Attributes:
        killed: How many stages were done at each kill.
    """

    def __init__(
        self, made: Any, store: Store, moments: list[int], rng: np.random.Generator
    ) -> None:
        self.made, self.store, self.moments, self.rng = made, store, moments, rng
        self.killed: list[int] = []

    def run(self, other: Future[Any]) -> None:
        """Wait for each moment, as long as the run goes on."""
        nodes = list(self.made.worker_nodes)
        for moment in self.moments:
            while (done := len(self.store.done())) < moment and not other.done():
                time.sleep(0.02)
            if other.done():
                return
            at = int(self.rng.integers(len(nodes)))
            nodes[at].all_processes["raylet"][0].process.kill()
            self.killed.append(done)
            nodes[at] = add_node(self.made, at)


def main(arguments: list[str]) -> int:
    """Run the file twice; return 1 if the results differ."""
    parser = argparse.ArgumentParser("tests.crash.nodes", description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    rng = np.random.default_rng(given.seed)
    with tempfile.TemporaryDirectory(prefix="nodes-") as name, cluster(2) as made:
        folder = Path(name)
        here = load(given.file).run(store=folder / "local", executor="local", device="cpu")
        count = len(here.plan.stages)
        moments = sorted(rng.choice(np.arange(1, count - 1), given.kills, replace=False).tolist())
        store = Store(folder / "ray")
        killer = Killer(made, store, moments, rng)
        start = time.perf_counter()
        experiment = load(given.file)
        with ThreadPoolExecutor(1) as thread:
            run = thread.submit(experiment.run, store=store.root, executor="ray", device="cpu")
            killer.run(run)
            there = run.result()
        seconds = time.perf_counter() - start
        times = Counter(there.outcome.executed)
        found = {
            "stages": count,
            "kills after so many stages": killer.killed,
            "begun again": there.outcome.repeated,
            "seconds": round(seconds, 1),
            "lost": count - len(store.done() & there.plan.stages.keys()),
            "recorded twice": sum(number > 1 for number in times.values()),
            "equal predictions": predictions(here.plan, Store(folder / "local"))
            == predictions(there.plan, store),
        }
        print(json.dumps(found), flush=True)
    right = not found["lost"] and not found["recorded twice"] and found["equal predictions"]
    return int(not right or len(killer.killed) < given.kills)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
