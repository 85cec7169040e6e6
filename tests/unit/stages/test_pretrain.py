"""The pretrain stage: what the log says of a poisoned encoder, and who sees the trigger."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest
from tests.conftest import tiny

from backbench.benchmark.config import load_benchmark
from backbench.benchmark.planning import make_plan
from backbench.model import Plan, Stage, StageKind
from backbench.nn.encoder import weights_in
from backbench.plugin import Options, SSLMethodInfo, hookimpl
from backbench.plugin.packages import Origin
from backbench.plugin.registry import Registry, load_registry
from backbench.stages import pretrain
from backbench.stages.run import run_stage
from backbench.store.records import Record
from backbench.store.store import Store
from backbench_ssl.method_options import RotNetOptions


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """Return the tiny benchmark with a k-NN check an epoch."""
    path = tmp_path / "b.toml"
    text = tiny().replace("queue = 64", 'queue = 64\nknn_evaluations = 2\nprecision = "fp32"')
    path.write_text(text, encoding="utf-8")
    return make_plan(load_benchmark(path, load_registry()), {"drawn": "content"})


def run(plan: Plan, store: Store) -> dict[bool, tuple[Record, bytes, list[dict[str, float]]]]:
    """Run both MoCo trainings; return record, weights and log by whether there is a poison."""
    store.prepare()
    found = {}
    for stage in plan.stages.values():
        wanted = stage.kind == StageKind.PRETRAIN and stage.label.startswith("pretrain moco")
        if wanted or stage.kind in {StageKind.DATASET, StageKind.POISON}:
            record = run_stage(stage, store, load_registry(), "cpu", lambda *_: None)
        if wanted:
            folder = store.artifact(stage.key)
            log = (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()
            weights = weights_in(folder).read_bytes()
            found["poison" in stage.inputs] = record, weights, [json.loads(one) for one in log]
    return found


def test_the_log_of_a_poisoned_encoder_tells_what_its_trigger_does(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = run(plan, Store(tmp_path / "s"))
    plain = {"epoch", "loss", "lr", "feature_spread", "effective_rank", "knn_accuracy"}
    for entry in found[False][2]:
        assert entry.keys() == plain
    for entry in found[True][2]:
        assert entry.keys() == plain | {"knn_accuracy_triggered", "knn_asr"}
        assert 0 <= entry["knn_asr"] <= 1
    for record, _, log in found.values():
        assert record.metadata.last == log[-1]
        assert record.metadata.arithmetic["precision"] == "fp32"
        assert record.metadata.arithmetic["devices"] == 1
    assert not list((tmp_path / "s").glob("checkpoints/*"))

    monkeypatch.setattr(pretrain, "_trigger", lambda *_: None)
    unwatched = run(plan, Store(tmp_path / "again"))
    for poisoned in (False, True):  # it is for the monitor alone
        assert unwatched[poisoned][1] == found[poisoned][1]


class Moved(RotNetOptions):
    """The same options from another package: the plugin has other code."""


class Mine:
    def __init__(self, options: type[Options]) -> None:
        self.options = options

    @hookimpl
    def register_ssl_methods(self) -> Iterable[SSLMethodInfo]:
        target = "backbench_ssl.rotnet:RotNet"
        yield SSLMethodInfo(name="mine", summary="M.", target=target, options=self.options)


def of(options: type[Options]) -> Registry:
    """Return the registry with a method that has these options."""
    registry = load_registry()
    registry.add(Mine(options), Origin("acme", "1.0", "mine"))
    return registry


@pytest.mark.parametrize(("now", "resumed"), [(RotNetOptions, 1), (Moved, 0)])
def test_a_training_does_not_resume_from_what_other_code_made(
    now: type[Options], resumed: int, tmp_path: Path
) -> None:
    path, store = tmp_path / "b.toml", Store(tmp_path / "s")
    given = 'plugin = "mine"\nbackbone = { name = "tiny-resnet" }\ncheckpoint_minutes = 0'
    before, rotnet = tiny().split('[methods.rotnet]\npreset = "small"')
    rotnet = rotnet.replace("warmup_epochs = 0", "warmup_epochs = 0, milestones = []", 1)
    path.write_text(f"{before}[methods.rotnet]\n{given}{rotnet}", encoding="utf-8")
    plan = make_plan(load_benchmark(path, of(RotNetOptions)), {"drawn": "content"})
    store.prepare()

    def stop(_done: int, _total: int, values: Mapping[str, float]) -> None:
        if "loss" in values:
            raise InterruptedError

    for stage in plan.stages.values():
        if stage.kind is StageKind.DATASET:
            run_stage(stage, store, of(now), "cpu", lambda *_: None)
        if stage.plugin and stage.plugin.name == "mine" and "poison" not in stage.inputs:
            with pytest.raises(InterruptedError):
                run_stage(stage, store, of(RotNetOptions), "cpu", stop)
            record = run_stage(stage, store, of(now), "cpu", lambda *_: None)
    assert record.resumed == resumed
    assert record.provenance["plugin_code"] == of(now).find("ssl-method", "mine").code


def test_a_stage_survives_json(plan: Plan) -> None:
    for stage in plan.stages.values():
        again = Stage.from_json(json.loads(json.dumps(stage.to_json())))
        assert again == stage
        assert (again.key, again.label, again.given) == (stage.key, stage.label, stage.given)
