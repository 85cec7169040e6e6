"""Encoders from elsewhere as values of the matrix."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.conftest import Bench, tiny

from backbench.benchmark.config import Benchmark, load_benchmark, notes_on
from backbench.benchmark.planning import make_plan
from backbench.errors import ConfigError
from backbench.model import Cell, Plan, StageKind
from backbench.nn import Encoder, EncoderSpec, save_encoder
from backbench.plugin.registry import Registry
from backbench.store.store import Store

SPEC = EncoderSpec(
    {"name": "tiny-resnet", "widths": [4, 4], "strides": [1, 2], "stem_width": 4},
    image_size=32,
    mean=(0.5, 0.5, 0.5),
    std=(0.25, 0.25, 0.25),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with two encoders, ``theirs`` and ``clean``."""
    root = tmp_path_factory.mktemp("encoders")
    for seed, name in enumerate(("theirs", "clean")):
        (root / name).mkdir()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            save_encoder(root / name, Encoder(SPEC).eval())
    return root


def load(folder: Path, registry: Registry, more: str, **axes: str) -> Benchmark:
    """Return the benchmark with ``[encoders]`` tables and other values of some axes."""
    text = tiny()
    defaults = {"methods": '["theirs"]', "defenses": '["none"]'}
    for axis, names in {**defaults, **axes}.items():
        before = next(line for line in text.splitlines() if line.startswith(f"{axis} ="))
        text = text.replace(before, f"{axis} = {names}")
    path = folder / "b.toml"
    path.write_text(text + more, encoding="utf-8")
    return load_benchmark(path, registry)


def plan_of(benchmark: Benchmark) -> Plan:
    return make_plan(benchmark, {"drawn": "content"})


def kinds(plan: Plan) -> set[str]:
    return {stage.kind.value for stage in plan.stages.values()}


def imports(plan: Plan, *keys: str | None) -> set[str]:
    """Return the contents of the files that lead to some stages."""
    found = plan.ancestors(*(key for key in keys if key is not None))
    return {plan.stages[key].content for key in found if plan.stages[key].kind is StageKind.IMPORT}


WITH_CONTROL = '[encoders.theirs]\nweights = "theirs"\ncontrol = "clean"\n'
ALONE = '[encoders.theirs]\nweights = "theirs"\n'


def attacked(plan: Plan) -> list[Cell]:
    return [cell for cell in plan.cells if cell.name.attack != "none"]


def test_nothing_is_trained_and_the_control_is_the_clean_file(
    folder: Path, registry: Registry
) -> None:
    plan = plan_of(load(folder, registry, WITH_CONTROL))
    assert kinds(plan) == {"dataset", "poison", "import", "features", "fit", "predict"}
    for cell in attacked(plan):
        own, control = imports(plan, cell.evaluation), imports(plan, cell.control)
        assert len(own) == len(control) == 1
        assert own != control
    unattacked = {
        key for cell in plan.cells if not cell.control for key in imports(plan, *cell.own)
    }
    assert unattacked == imports(plan, *(cell.evaluation for cell in attacked(plan)))


def test_without_a_control_the_rows_have_none(folder: Path, registry: Registry) -> None:
    plan = plan_of(load(folder, registry, ALONE))
    assert attacked(plan)
    assert all(cell.control is None for cell in plan.cells)


def test_an_attack_on_the_encoder_starts_from_the_file(folder: Path, registry: Registry) -> None:
    more = ALONE + '[attacks.bad]\nplugin = "badencoder"\npreset = "small"\ntarget = "CLASS"\n'
    more = more.replace("CLASS", tiny().split('target = "')[1].split('"')[0])
    plan = plan_of(load(folder, registry, more, attacks='["bad"]'))
    for cell in plan.cells:
        assert cell.control is not None
        assert imports(plan, cell.evaluation) == imports(plan, cell.control)
        leads = {plan.stages[key].kind for key in plan.ancestors(cell.control)}
        assert StageKind.IMPLANT not in leads
        assert StageKind.IMPLANT in {plan.stages[key].kind for key in cell.path}


@pytest.mark.parametrize("downstreams", [["two", "three"], ["three", "two"], ["two"]])
def test_a_defense_sees_the_evaluated_dataset_whatever_else_is_in_the_matrix(
    folder: Path, registry: Registry, downstreams: list[str]
) -> None:
    drawn = '[datasets.{}]\nplugin = "embedded"\nclasses = 4\nsize = 32\ntrain_per_class = {}\n'
    more = WITH_CONTROL + drawn.format("two", 20) + drawn.format("three", 21)
    axes = {"attacks": f'["none"]\ndownstreams = {downstreams}', "defenses": '["distill"]'}
    benchmark = load(folder, registry, more, **axes)
    plan = make_plan(benchmark, {name: name for name in ("drawn", "two", "three")})
    for cell in plan.cells:
        (repair,) = (k for k in cell.path if plan.stages[k].kind is StageKind.REPAIR)
        read = plan.stages[plan.stages[repair].inputs["dataset"]]
        assert read.content == cell.name.downstream


@pytest.mark.parametrize(("encoders", "alike"), [(WITH_CONTROL, False), (ALONE, True)])
def test_an_attack_reads_the_control_where_there_is_one(
    folder: Path, registry: Registry, encoders: str, alike: bool
) -> None:
    more = encoders + '[attacks.chosen]\nplugin = "no-label"\nwidth = 8\n'
    plan = plan_of(load(folder, registry, more, attacks='["chosen"]'))
    for cell in plan.cells:
        (poison,) = (k for k in cell.path if plan.stages[k].kind is StageKind.POISON)
        read = imports(plan, plan.stages[poison].inputs["encoder"])
        own = imports(plan, plan.stages[cell.evaluation].inputs["clean"])
        assert (read == own) is alike


def test_methods_and_encoders_share_a_matrix(folder: Path, registry: Registry) -> None:
    own = set(plan_of(load(folder, registry, "", methods='["moco-v2"]')).stages)
    both = set(
        plan_of(load(folder, registry, WITH_CONTROL, methods='["moco-v2", "theirs"]')).stages
    )
    assert own < both


def test_the_file_is_described_in_a_note(folder: Path, registry: Registry) -> None:
    notes = list(notes_on(load(folder, registry, WITH_CONTROL)))
    assert notes[0].startswith("encoders.theirs.weights: encoder.safetensors: layout backbench")
    assert len(notes) == 2


@pytest.mark.parametrize(
    ("more", "axes", "sentences"),
    [
        (
            '[encoders.theirs]\nweights = "nowhere.pth"\n',
            {},
            ["nowhere.pth: there is no such file"],
        ),
        (
            '[encoders.theirs]\nweights = "theirs"\narch = "resnet18"\n',
            {},
            ["encoders.theirs.weights:", "leave out arch, stem, image_size, normalize and prefix"],
        ),
        (ALONE.replace("weights", "weigths"), {}, ["did you mean 'weights'"]),
        (ALONE, {"methods": '["thiers"]'}, ["did you mean 'theirs'"]),
        (ALONE.replace("theirs]", "rotnet]"), {}, ["'rotnet' is the name of a method, too"]),
        (
            ALONE + '[defenses.search]\nplugin = "patch-search"\npreset = "small"\nclusters = 4\n',
            {"defenses": '["search"]'},
            ["defenses.search: on encoder 'theirs': the defense acts on the dataset"],
        ),
    ],
)
def test_one_sentence_for_each_problem(
    folder: Path, registry: Registry, more: str, axes: dict[str, Any], sentences: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        load(folder, registry, more, **axes)
    for sentence in sentences:
        assert sentence in str(caught.value)


def test_what_a_file_is_is_remembered_in_the_store(
    folder: Path, registry: Registry, tmp_path: Path
) -> None:
    Store(tmp_path / "store").prepare()
    path = folder / "b.toml"
    first = load(folder, registry, WITH_CONTROL)
    for file in folder.rglob("*.*"):
        os.utime(file, ns=(0, 0))  # settled long ago
    made = load_benchmark(path, registry, store=tmp_path / "store")
    assert dict(made.encoders) == dict(first.encoders)
    script = (
        "import sys; from pathlib import Path; from backbench import load\n"
        "found = load(sys.argv[1], store=sys.argv[2]).benchmark.encoders['theirs'].own.sha256\n"
        "print(found, 'torch' in sys.modules)"
    )
    command = [sys.executable, "-c", script, str(path), str(tmp_path / "store")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [first.encoders["theirs"].own.sha256, "False"]
    (folder / "theirs" / "encoder.json").touch()
    known = (tmp_path / "store" / "encoders.json").read_bytes()
    load_benchmark(path, registry, store=tmp_path / "store")  # read anew, and not remembered yet
    assert (tmp_path / "store" / "encoders.json").read_bytes() == known


def test_a_replaced_file_of_equal_size_and_time_is_read_anew(
    folder: Path, registry: Registry, tmp_path: Path
) -> None:
    Store(tmp_path / "store").prepare()
    load(folder, registry, WITH_CONTROL)
    for file in folder.rglob("*.*"):
        os.utime(file, ns=(0, 0))  # settled long ago
    path, known = folder / "b.toml", tmp_path / "store" / "encoders.json"
    load_benchmark(path, registry, store=tmp_path / "store")
    before = known.read_bytes()
    file = folder / "theirs" / "encoder.json"
    copy = tmp_path / "copy"
    copy.write_bytes(file.read_bytes())
    os.utime(copy, ns=(0, 0))
    copy.replace(file)
    load_benchmark(path, registry, store=tmp_path / "store")
    assert known.read_bytes() != before


def test_check_looks_into_the_store_that_is_named(
    folder: Path, registry: Registry, bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(folder, registry, ALONE)
    for file in folder.rglob("*.*"):
        os.utime(file, ns=(0, 0))  # settled long ago
    check = ("check", str(folder / "b.toml"))
    note = "no store is there, so the files of 1 encoder were read anew"
    for more, named in (((), "store"), (("--store", "mine"), "mine")):
        assert f"note: {named}: {note}" in bench(*check, *more).assert_ok().err
    for name in ("mine", "ours"):
        Store(tmp_path / name).prepare()
    assert note not in bench(*check, "--store", "mine").assert_ok().err
    monkeypatch.setenv("BACKBENCH_STORE", "ours")
    assert note not in bench(*check).assert_ok().err
    found = sorted(path.parent.name for path in tmp_path.rglob("encoders.json"))
    assert found == ["mine", "ours"]
