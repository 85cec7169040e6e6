"""Checks that a plugin depends on its inputs alone, and leaves everything else as it was."""

from __future__ import annotations

import os
import random  # noqa: TID251 - to see that no plugin draws from it
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import pytest

T = TypeVar("T")

#: Seconds by which the clocks are ahead in another process.
_LATER_S = 100_000


@contextmanager
def global_generators_untouched() -> Iterator[None]:
    """Assert that nothing draws from, or seeds, a global random generator."""
    before = _states()
    yield
    assert_unused(_changed(before))


def watched(work: Callable[[], T]) -> tuple[T, list[str]]:
    """Do something; return its result, and the names of the global generators that it has used."""
    before = _states()
    return work(), _changed(before)


def assert_unused(generators: list[str]) -> None:
    """Assert that no global generator is among those that were used."""
    assert not generators, (
        f"the global generator of {', '.join(generators)} was used: draw from a generator that "
        "follows from the rng or the seed that the plugin is given"
    )


@contextmanager
def elsewhere() -> Iterator[None]:
    """Run as in another process at another time: with another process id and other clocks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "getpid", _shifted(os.getpid, 1))
        for name in ("time", "monotonic", "perf_counter"):
            patch.setattr(time, name, _shifted(getattr(time, name), _LATER_S))
            name_ns = f"{name}_ns"
            patch.setattr(time, name_ns, _shifted(getattr(time, name_ns), _LATER_S * 10**9))
        yield


@contextmanager
def recorded_seeds() -> Iterator[set[str]]:
    """Record the seeds of the generators of NumPy and torch that are made."""
    import torch

    seeds: set[str] = set()
    make_rng = np.random.default_rng

    def default_rng(seed: Any = None) -> np.random.Generator:
        if isinstance(seed, int | np.integer | list | tuple | np.ndarray | np.random.SeedSequence):
            plain = seed.tolist() if isinstance(seed, np.ndarray) else seed
            seeds.add(f"numpy.random.default_rng({plain})")
        return make_rng(seed)

    class Generator(torch.Generator):
        def manual_seed(self, seed: int) -> torch.Generator:
            seeds.add(f"torch.Generator().manual_seed({seed})")
            return super().manual_seed(seed)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(np.random, "default_rng", default_rng)
        patch.setattr(torch, "Generator", Generator)
        yield seeds


def _shifted(function: Callable[[], Any], amount: int) -> Callable[[], Any]:
    return lambda: function() + amount


def _changed(before: dict[str, bytes]) -> list[str]:
    after = _states()
    return [name for name, state in before.items() if after[name] != state]


def _states() -> dict[str, bytes]:
    state: Any = np.random.get_state()  # noqa: NPY002 - to see that no plugin uses it
    states = {"random": repr(random.getstate()).encode()}
    states["numpy"] = repr(state[2:]).encode() + state[1].tobytes()
    if "torch" in sys.modules:
        states["torch"] = sys.modules["torch"].get_rng_state().numpy().tobytes()
    return states
