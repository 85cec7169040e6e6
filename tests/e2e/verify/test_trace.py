"""A row of a leaderboard is traced to its files and options."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from tests.conftest import Bench
from tests.e2e.verify.conftest import EVALUATION, key_of


def test_why(finished: Path, bench: Bench) -> None:
    file, store = str(finished / "benchmarks.toml"), str(finished / "store")
    where = (file, "--store", store)
    outcome = bench("show", *where, "--trace", "evaluator=linear")
    assert outcome.code == 2
    assert "2 rows are left: add attack=none|targeted" in outcome.err
    text = bench("show", *where, "--trace", "evaluator=linear,attack=targeted").assert_ok().out
    lines = Path(file).read_text(encoding="utf-8").splitlines()
    assert f"{file}:{lines.index('[methods.rotnet]') + 1}\n  [methods.rotnet]\n" in text
    key = key_of(Path(store), EVALUATION)
    record = json.loads(Path(store, "records", f"{key}.json").read_text(encoding="utf-8"))
    predictions = f"{store}/artifacts/{key}/predictions.npz"
    assert f"{predictions} (SHA-256 {record['files']['predictions.npz']['sha256']})" in text
    assert "gave accuracy/clean = " in text
    dataset = key_of(Path(store), "dataset")
    content = json.loads(Path(store, "records", f"{dataset}.json").read_text(encoding="utf-8"))
    assert f"data fingerprint {content['stage']['content']}" in text
    assert "epochs = 1" in text
    assert "its control" in text
    assert str(np.__version__) in text
