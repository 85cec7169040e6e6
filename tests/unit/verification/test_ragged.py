"""A folder of images of differing sizes: the folder may be gone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image
from safetensors.numpy import load_file

from backbench.benchmark.config import load_benchmark
from backbench.benchmark.planning import plan_of
from backbench.model import Plan, StageKind
from backbench.plugin.registry import Registry, load_registry
from backbench.stages.run import run_stage
from backbench.store.store import Store, hash_files
from backbench.verification.findings import Findings
from backbench.verification.identity import without_places
from backbench.verification.store_check import verify_store
from tests.factories import make_pets, pets


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Registry]:
    """Return a folder with images and a store in which they are poisoned."""
    folder = tmp_path_factory.mktemp("ragged")
    make_pets(folder)
    (folder / "b.toml").write_text(pets(), encoding="utf-8")
    registry = load_registry()
    store = Store(folder / "store")
    store.prepare()
    plan = planned(folder / "b.toml", registry, store)
    for stage in plan.stages.values():
        if stage.kind in {StageKind.DATASET, StageKind.POISON}:
            run_stage(stage, store, registry, "cpu", lambda _done, _total, _values: None)
    return folder, registry


def planned(file: Path, registry: Registry, store: Store) -> Plan:
    return plan_of(load_benchmark(file, registry), store, keep_hashes=False)


def verify(folder: Path, registry: Registry, plan: Plan | None = None) -> Findings:
    return verify_store(Store(folder / "store"), registry, plan)


def test_images_on_disk(made: tuple[Path, Registry], tmp_path: Path) -> None:
    folder, registry = made
    found = verify(folder, registry)
    assert (found.checked, found.differs, found.unchecked) == (2, [], [])

    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    file = next((copy / "store").rglob("images.safetensors"))
    stored = load_file(file)
    width = int(stored["sizes"][0, 1])
    start = file.read_bytes().index(stored["pixels"].tobytes())
    content = bytearray(file.read_bytes())
    content[start + (width + 2) * 3] ^= 255
    file.write_bytes(content)
    key = file.parent.name
    path = copy / "store" / "records" / f"{key}.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    record["files"] = hash_files(file.parent)
    path.write_text(json.dumps(record), encoding="utf-8")
    (one,) = verify(copy, registry).differs
    assert f"poisoned image {stored['indices'][0]}: 1 pixels" in one.message
    assert "x = 2, y = 1" in one.message


def test_the_file_says_where_the_data_set_lies(made: tuple[Path, Registry], tmp_path: Path) -> None:
    folder, registry = made
    shutil.copy(folder / "b.toml", tmp_path)
    (folder / "pets").rename(tmp_path / "pets")
    try:
        plan = planned(tmp_path / "b.toml", registry, Store(folder / "store"))
        found = verify(folder, registry, plan)
    finally:
        (tmp_path / "pets").rename(folder / "pets")
    assert (found.checked, found.differs, found.unchecked) == (2, [], [])


def test_the_data_set_is_not_there(made: tuple[Path, Registry], tmp_path: Path) -> None:
    folder, registry = made
    away = folder / "pets"
    aside = away.rename(tmp_path / "elsewhere")
    try:
        found = verify(folder, registry)
    finally:
        aside.rename(away)
    assert found.differs == []
    # The poison is derived from the decoded images that are kept.
    assert [one.subject for one in found.unchecked] == ["dataset pets"]
    assert "pets" in found.unchecked[0].message


def test_the_content_of_the_data_set_changed(made: tuple[Path, Registry]) -> None:
    folder, registry = made
    victim = folder / "pets" / "val" / "dog" / "0.png"
    before = victim.read_bytes()
    Image.new("RGB", (32, 32)).save(victim)
    try:
        found = verify(folder, registry)
    finally:
        victim.write_bytes(before)
    (one,) = found.differs  # the poison is of the stored images, which agree
    assert one.subject.startswith("dataset pets")
    assert "content is not what the key is of" in one.message


def test_a_plugin_that_is_not_installed(made: tuple[Path, Registry]) -> None:
    folder, _ = made
    found = verify(folder, Registry())
    assert found.differs == []
    assert {one.message.partition(" (")[0] for one in found.unchecked} == {
        "its key",
        "against the images",
        "its images",
    }


def test_a_machines_folders_are_left_out() -> None:
    options = {"root": "/home/me/pets", "size": 32, "in": {"font": "/usr/f.ttf", "name": "/a"}}
    identity = {"size": 32, "in": {"name": "/a"}}
    wanted = {"root": "pets", "size": 32, "in": {"font": "f.ttf", "name": "/a"}}
    assert without_places(options, identity) == wanted
