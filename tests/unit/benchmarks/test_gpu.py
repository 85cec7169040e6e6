"""The run on a GPU in slices: what is kept between them, and the page."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks.gpu import peers, speed
from benchmarks.gpu.checks import BENCHMARK, GUARDS
from benchmarks.gpu.page import page
from benchmarks.gpu.state import MOST_SLICES, State, Status, Unit
from benchmarks.gpu.training import BENCHMARK as PUBLISHED
from benchmarks.gpu.units import units
from benchmarks.workers import moco_common

import backbench as bb
from backbench.errors import ConfigError
from backbench.nn.backbones import build_backbone
from backbench.options.backbones import BackboneOptions
from backbench.plugin.registry import load_registry
from backbench.verification.plan_check import plan_differences

SETTINGS = {"device": "cpu", "tiny": True}
NAMES = ["one", "two", "three", "four"]


def test_a_run_goes_on_where_it_ended(tmp_path: Path) -> None:
    state = State(tmp_path, SETTINGS)
    state.put("one", Unit(Status.DONE, {"value": 1.0}))
    state.put("two", Unit(Status.FAILED, error="Traceback …\nValueError: no"))
    state.put("three", Unit(Status.PAUSED, seconds=3))
    again = State(tmp_path, SETTINGS)
    assert again.pending(NAMES) == ["three", "four"]
    assert again.units["one"].result == {"value": 1.0}


def test_a_unit_whose_process_was_ended_is_tried_again_and_then_counts_as_failed(
    tmp_path: Path,
) -> None:
    state = State(tmp_path, SETTINGS)
    state.put("one", Unit(Status.RUNNING))
    for _ in range(MOST_SLICES - 1):
        state.settle()
        assert state.pending(["one"]) == ["one"]
        state.units["one"].status = Status.RUNNING
    state.settle()
    assert state.pending(["one"]) == []
    assert "was ended" in State(tmp_path, SETTINGS).units["one"].error


def test_a_folder_of_other_settings_is_refused(tmp_path: Path) -> None:
    State(tmp_path, SETTINGS).save()
    with pytest.raises(ValueError, match="choose another --out"):
        State(tmp_path, {**SETTINGS, "device": "cuda:0"})


def test_every_method_attack_and_defense_is_checked(tmp_path: Path) -> None:
    registry = load_registry()
    ours = {
        kind: {
            name for name in registry.names(kind)
            if registry.find(kind, name).origin.distribution == "backbench"
        }
        for kind in ("ssl-method", "attack", "defense")
    }  # fmt: skip
    steps = {name.split()[1] for name in units(tiny=False) if name.startswith("steps ")}
    assert ours["ssl-method"] == steps
    plan = bb.load(BENCHMARK).plan(store=tmp_path / "store").plan
    assert list(plan_differences(plan)) == []  # so that a bundle of any of them can be verified
    used = {use.name for stage in plan.stages.values() for use in stage.uses}
    assert ours["attack"] | ours["defense"] <= used
    assert {*GUARDS} <= ours["defense"]


def test_the_published_benchmark_is_right_but_for_the_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        bb.load(PUBLISHED, changes=[f'datasets.cifar10.root="{tmp_path}/gone"'])
    assert {one.path for one in caught.value.problems} == {"datasets.cifar10"}


def test_the_page_has_what_was_done_and_why_the_rest_was_not(tmp_path: Path) -> None:
    state = State(tmp_path, SETTINGS)
    state.put("steps byol", Unit(Status.DONE, {"views_apart": 1e-7, "loss_apart": 2e-5}))
    state.put("limit", Unit(Status.DONE, {"best": 2.0, "dtype": "torch.float32"}))
    rates = {"pairs_per_s": [90.0, 100.0, 110.0], "batch": 32, "tflop_per_s": 1.0}
    state.put("pairs byol rn18-32", Unit(Status.DONE, rates))
    peer = {"pairs_per_s": {"as shipped": [40.0, 50.0], "bf16": [70.0, 80.0]}, "batch": 32}
    state.put("published moco-v2 rn18-32", Unit(Status.DONE, peer))
    state.put("pairs simclr rn18-32", Unit(Status.FAILED, error="Traceback …\nValueError: a|b"))
    state.put("cifar10", Unit(Status.SKIPPED, error="say where it is"))
    text = page(state)
    assert "| byol | 1.0e-07 | 2.0e-05 |" in text
    assert "| byol rn18-32 | 32 | 100 [90, 110] | 3 | 50% | – | – |" in text
    assert "| published moco-v2 rn18-32, as shipped | 32 | 45 [40, 50] | 2 | – | – | – |" in text
    assert "| published moco-v2 rn18-32, bf16 | 32 | 75 [70, 80] | 2 | – | – | – |" in text
    assert "| pairs simclr rn18-32 | failed: ValueError: a\\|b |" in text
    assert "| cifar10 | skipped: say where it is |" in text


def test_peers_train_the_network_and_the_batch_that_ours_does() -> None:
    for case, (side, backbone, batch, _) in speed.CASES.items():
        theirs = moco_common.CASES[peers.CASES[case]]
        network = build_backbone(BackboneOptions.model_validate(backbone))
        assert (theirs.side, theirs.batch, theirs.queue) == (side, batch, 16 * batch)
        assert moco_common.trained(moco_common.network(theirs)) == moco_common.trained(network)
