"""The synthetic store is one that every command reads."""

from __future__ import annotations

from pathlib import Path

from benchmarks import synthetic

from backbench.store.integrity import damaged
from backbench.store.store import Store


def test_each_stage_has_a_record_that_can_be_read(tmp_path: Path) -> None:
    made = synthetic.make(tmp_path, 10, val_per_class=2)
    store = Store(made.store)
    assert store.done() == made.plan.stages.keys()
    assert damaged(store, made.plan.stages) == {}
