"""The published matrices as benchmark files: whole, without problem, and true to the fact sheet."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from PIL import Image

from backbench.benchmark.config import Benchmark, benchmark_from
from backbench.benchmark.planning import make_plan
from backbench.benchmark.reproductions.published import (
    ImageNet100Counts,
    add_stand_in,
    fill,
    find_reproduction,
    reproduction_names,
)
from backbench.data.classes import class_list
from backbench.errors import DataError, UsageError
from backbench.model import Axis
from backbench.plugin.registry import Registry, load_registry

SCALES = ("full", "cifar10", "embedded")
NAMES = ("chen2025", "jia2022", "li2023", "saha2022")
MATRICES = [(name, scale) for name in NAMES for scale in SCALES]

#: Plugins of attacks and methods, by matrix.
PLUGINS = {
    "chen2025": ({"noisy-alignment"}, {"moco-v2", "byol", "simsiam", "simclr"}),
    "jia2022": ({"badencoder"}, {"simsiam", "simclr"}),
    "li2023": ({"ctrl"}, {"byol", "simsiam", "simclr"}),
    "saha2022": ({"patch"}, {"moco-v2", "byol", "jigsaw", "rotnet", "simclr", "simsiam"}),
}

#: Target, number of the trigger, and class id: the rank among the sorted ids.
PUBLISHED = {
    "n02106550": (10, 26),
    "n02701002": (12, 44),
    "n03642806": (14, 64),
    "n03947888": (16, 75),
    "n04517823": (18, 90),
}


@pytest.fixture
def registry() -> Registry:
    found = load_registry()
    add_stand_in(found)
    return found


@pytest.fixture
def triggers(tmp_path: Path) -> Path:
    folder = tmp_path / "triggers"
    folder.mkdir()
    for number in range(10, 20):
        Image.new("RGB", (80, 80), (number, 0, 0)).save(folder / f"trigger_{number}.png")
    return folder


def validated(scale: str, registry: Registry, name: str = "saha2022", **how: object) -> Benchmark:
    text = fill(find_reproduction(name, scale), stand_in=True, **how)  # type: ignore[arg-type]
    tables = tomllib.loads(text)
    return benchmark_from(tables, source=scale, folder=Path.cwd(), registry=registry)


@pytest.mark.parametrize(("name", "scale"), MATRICES)
def test_a_filled_in_matrix_has_no_problem(
    name: str, scale: str, registry: Registry, triggers: Path
) -> None:
    benchmark = validated(scale, registry, name)
    attacks, methods = PLUGINS[name]
    assert benchmark.protocol is not None
    assert {cell.seed for cell in benchmark.cells} == {0}
    assert {cell.method for cell in benchmark.cells} <= methods
    used = {one.use().name for one in benchmark.instances["attacks"].values()}
    assert used == attacks
    assert any(cell.attack == "none" for cell in benchmark.cells)
    files = {"triggers": triggers} if find_reproduction(name, scale).triggers else {}
    with_files = validated(scale, registry, name, **files, seeds=(0, 1))
    assert len(with_files.cells) == 2 * len(benchmark.cells)


@pytest.mark.parametrize(("name", "scale"), MATRICES)
def test_every_instance_and_profile_is_used(name: str, scale: str, registry: Registry) -> None:
    tables = tomllib.loads(fill(find_reproduction(name, scale), stand_in=True))
    whole = validated(scale, registry, name).cells
    for axis in Axis:
        used = {getattr(cell, axis) for cell in whole}
        assert set(tables.get(axis.plural, {})) <= used
    for profile in tables["profiles"]:
        part = benchmark_from(
            tables, source=scale, folder=Path.cwd(), registry=registry, profile=profile
        ).cells
        assert 0 < len(part) < len(whole)


@pytest.mark.parametrize(("name", "scale"), MATRICES)
def test_every_matrix_plans(name: str, scale: str, registry: Registry) -> None:
    benchmark = validated(scale, registry, name)
    plan = make_plan(benchmark, dict.fromkeys(benchmark.instances["datasets"], "counts"))
    assert len(plan.cells) == len(benchmark.cells)
    assert all(cell.control for cell in plan.cells if cell.name.attack != "none")


def test_the_published_pairs(registry: Registry) -> None:
    attacks = validated("full", registry).instances["attacks"]
    classes = sorted(class_list("imagenet100"))
    found = {}
    for name, instance in attacks.items():
        use = instance.use().options
        if use["mode"] == "targeted" and use["target"] != "n01820546":
            found[use["target"]] = (use["trigger"], classes.index(use["target"]))
            assert name.endswith(f"-{use['trigger']}")
            assert use["rate"] == {"of": "target_class", "value": 0.5}
        assert use["width"] == 50
        assert tuple(use["train_location"]) == (0.25, 0.75)
        assert tuple(use["val_location"]) == (0.10, 0.90)
    assert found == PUBLISHED
    lorikeet = attacks["lorikeet-14"].use().options
    assert (lorikeet["trigger"], lorikeet["rate"]) == (14, {"of": "count", "value": 650})
    assert classes.index("n01820546") == 6  # as the replications' configuration has it


def test_the_embedded_matrix_is_that_of_the_example(registry: Registry) -> None:
    example = Path(__file__).parents[4] / "benchmarks.toml"
    theirs = tomllib.loads(example.read_text(encoding="utf-8"))
    ours = tomllib.loads(fill(find_reproduction("saha2022", "embedded"), seeds=(0, 1, 2)))
    whole = [matrix for matrix in theirs["matrix"] if "profiles" not in matrix]
    assert ours["matrix"] == whole
    used = {name for matrix in whole for name in matrix["attacks"]} - {"none"}
    assert ours["attacks"] == {name: theirs["attacks"][name] for name in used}
    for table in ("datasets", "methods", "defenses"):
        assert ours[table] == theirs[table]
    assert ours["benchmark"]["seeds"] == theirs["benchmark"]["seeds"]


def test_paths_are_written_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, triggers: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'my "net"').mkdir()
    text = fill(
        find_reproduction("saha2022", "full"), data=Path('my "net"'), triggers=Path("triggers")
    )
    tables = tomllib.loads(text)
    assert tables["datasets"]["imagenet100"] == {
        "plugin": "image-folder",
        "root": str(tmp_path / 'my "net"'),
        "classes": "imagenet100",
    }
    assert tables["attacks"]["laptop-14"]["trigger"] == str(triggers / "trigger_14.png")


@pytest.mark.parametrize(("split", "given"), [("val", None), ("test", "test")])
def test_cifar10_as_a_folder(tmp_path: Path, split: str, given: str | None) -> None:
    for name in ("train", split):
        (tmp_path / name).mkdir()
    text = fill(find_reproduction("saha2022", "cifar10"), data=tmp_path)
    table = tomllib.loads(text)["datasets"]["cifar10"]
    assert table["plugin"] == "image-folder"
    assert table.get("val") == given


def test_wrong_folders_are_one_sentence(tmp_path: Path) -> None:
    full, embedded = (find_reproduction("saha2022", scale) for scale in ("full", "embedded"))
    with pytest.raises(UsageError, match="there is no such folder"):
        fill(full, data=tmp_path / "nowhere")
    with pytest.raises(UsageError, match=r"no trigger_10\.png, no trigger_12\.png"):
        fill(full, triggers=tmp_path)
    with pytest.raises(UsageError, match="draws its own images"):
        fill(embedded, data=tmp_path)
    with pytest.raises(UsageError, match="did you mean 'saha2022'"):
        find_reproduction("saha-2022", "full")
    with pytest.raises(UsageError, match="li2023 makes its own trigger"):
        fill(find_reproduction("li2023", "embedded"), triggers=tmp_path)
    assert reproduction_names() == list(NAMES)


def test_the_stand_in_counts_and_does_not_load() -> None:
    from backbench.plugin import Options

    counts = ImageNet100Counts(Options())
    metadata = counts.metadata()
    assert (metadata.train, metadata.val, len(metadata.classes)) == (126_689, 5_000, 100)
    assert sum(metadata.train_per_class) == metadata.train
    with pytest.raises(DataError, match="give --data"):
        counts.load("train")


def test_the_stand_in_is_there_only_when_it_is_asked_for() -> None:
    assert "imagenet100-counts" not in load_registry().names("dataset")


def test_seeds_are_json() -> None:
    text = fill(find_reproduction("saha2022", "embedded"), seeds=(3, 5))
    assert f"seeds = {json.dumps([3, 5])}" in text
