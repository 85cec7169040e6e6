"""The code of a plugin and the files behind its options: what changes is seen."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.conftest import Bench, tiny
from tests.predictions import predicted_store

from backbench.benchmark.config import Benchmark, load_benchmark
from backbench.benchmark.planning import make_plan
from backbench.errors import PluginError, UsageError
from backbench.model import Plan, StageKind
from backbench.plugin import AttackInfo, Field, LocalPath, Options, SSLMethodInfo
from backbench.plugin.packages import Origin, code_of
from backbench.plugin.registry import FILES, Registered, Registry, load_registry
from backbench.results.outdated import CODES, changed_code
from backbench.stages.task import Task
from backbench.store.store import Store
from backbench.verification.identity import restoring


class Seen(Options):
    reference: LocalPath = Field(description="a file or a folder")


INFO = AttackInfo(name="seen", summary="S.", target="backbench_attacks.patch:Patch", options=Seen)
SEEN = Registered(INFO, Origin("acme", "1.0", "seen"))


def content(path: Path) -> object:
    return SEEN.identity(Seen.model_validate({"reference": path})).get(FILES)


class Endless(Options):
    def identity(self) -> dict[str, object]:
        return {"share": {"of": float("inf")}}


def test_what_enters_a_key_is_finite() -> None:
    endless = replace(SEEN, info=replace(INFO, options=Endless))
    with pytest.raises(PluginError, match=r"attack 'seen' of acme 1.0: .* share.of is inf"):
        endless.identity(Endless())


def test_the_key_holds_what_is_in_a_file_and_not_where_it_lies(tmp_path: Path) -> None:
    one, other = tmp_path / "a", tmp_path / "b"
    one.write_text("content")
    other.write_text("content")
    assert content(one) == content(other) != {"reference": ""}
    other.write_text("other")
    assert content(one) != content(other)


def test_the_key_holds_what_is_in_a_folder_and_below(tmp_path: Path) -> None:
    one, other = tmp_path / "a", tmp_path / "b"
    for folder in (one, other):
        (folder / "c").mkdir(parents=True)
        (folder / "c" / "d").write_text("content")
    assert content(one) == content(other)
    (other / "c" / "d").rename(other / "d")
    assert content(one) != content(other)


def test_a_file_that_is_not_there_yet_gives_another_key(tmp_path: Path) -> None:
    assert content(tmp_path / "a") == {"reference": ""}


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("content")
    (tmp_path / "a").chmod(0)
    with pytest.raises(PluginError, match=r"attack 'seen' of acme 1.0: reference: .*a: Permission"):
        content(tmp_path / "a")


@pytest.fixture
def registry() -> Registry:
    """Return the registry in which ``patch`` has a file that it does not hash itself."""
    registry = load_registry()
    (patch,) = registry._found["attack"]["patch"]

    class Referring(patch.info.options):  # type: ignore[misc, name-defined]
        reference: LocalPath = Field(description="a file")

    registry._found["attack"]["patch"] = [
        replace(patch, info=replace(patch.info, options=Referring))
    ]
    return registry


@pytest.fixture
def benchmark(tmp_path: Path, registry: Registry) -> Benchmark:
    path = tmp_path / "b.toml"
    path.write_text(tiny().replace("width = 10", 'width = 10\nreference = "reference"'))
    (tmp_path / "reference").write_text("content")
    return load_benchmark(path, registry)


def test_a_changed_reference_makes_its_stages_anew(tmp_path: Path, benchmark: Benchmark) -> None:
    def poisons() -> set[str]:
        plan = make_plan(benchmark, {"drawn": "content"})
        return {key for key, stage in plan.stages.items() if stage.kind is StageKind.POISON}

    before = poisons()
    assert poisons() == before
    (tmp_path / "reference").write_text("other")
    assert not poisons() & before


def test_a_reference_that_changes_during_a_run_stops_its_stage(
    tmp_path: Path, benchmark: Benchmark, registry: Registry
) -> None:
    plan = make_plan(benchmark, {"drawn": "content"})
    stage = next(one for one in plan.stages.values() if one.kind is StageKind.POISON)
    task = Task(stage, Store(tmp_path / "s"), tmp_path, registry, "cpu", lambda *_: None)
    assert task.plugin()
    (tmp_path / "reference").write_text("other")
    with pytest.raises(UsageError, match=r"attack 'patch' .* has changed since it was planned"):
        task.plugin()


def test_a_record_is_verified_where_its_reference_is_not(
    tmp_path: Path, benchmark: Benchmark, registry: Registry
) -> None:
    plan = predicted_store(tmp_path / "store", benchmark, lambda _, labels: (labels, labels))
    key = next(key for key, stage in plan.stages.items() if stage.kind is StageKind.POISON)
    (tmp_path / "reference").unlink()
    record = Store(tmp_path / "store").record(key)
    assert record is not None
    assert restoring(registry)(record).key == key


def test_code_is_that_of_all_modules_of_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    package = tmp_path / "some_package_of_a_stranger"
    (package / "inner").mkdir(parents=True)
    (package / "__init__.py").write_text("raise SystemExit  # it is not imported")
    (package / "inner" / "a.py").write_text("1")
    (package / "notes.txt").write_text("1")
    found = [code_of.__wrapped__(package.name)]
    for name, text in (("notes.txt", "2"), ("inner/a.py", "2"), ("inner/b.so", "1")):
        (package / name).write_text(text)
        found.append(code_of.__wrapped__(package.name))
    assert found[0] == found[1] != ""
    assert len(set(found)) == 3


@pytest.mark.parametrize("name", ["no_such_package_at_all", "sys", "__main__", ""])
def test_code_that_is_not_there_is_empty(name: str) -> None:
    assert isinstance(code_of(name), str)


@pytest.fixture
def stored(tmp_path: Path, tiny_file: Path) -> tuple[Plan, Store, Registry]:
    registry = load_registry()
    benchmark = load_benchmark(tiny_file, registry)
    plan = predicted_store(tmp_path / "store", benchmark, lambda _, labels: (labels, labels))
    return plan, Store(tmp_path / "store"), registry


Mark = Callable[[str], None]


@pytest.fixture
def mark(stored: tuple[Plan, Store, Registry]) -> Mark:
    """Return a function that writes into the records of moco-v2 what its code was."""
    from backbench.system.files import write
    from backbench.system.json_text import to_json

    plan, store, _ = stored

    def mark(code: str) -> None:
        for key, stage in plan.stages.items():
            if stage.plugin and stage.plugin.name == "moco-v2":
                record = store.record(key)
                assert record is not None
                made = replace(record, provenance={CODES["plugin"]: code})
                write(store.root / "records" / f"{key}.json", to_json(made.to_json()))

    return mark


def test_stages_of_other_code_are_counted(
    stored: tuple[Plan, Store, Registry], mark: Mark, bench: Bench
) -> None:
    plan, store, registry = stored
    assert list(changed_code(plan, store, registry)) == []  # made before code was noted
    mark(registry.find("ssl-method", "moco-v2").code)
    assert list(changed_code(plan, store, registry)) == []
    mark("0" * 16)
    (sentence,) = changed_code(plan, store, registry)
    assert sentence.startswith("the code of ssl-method 'moco-v2' of backbench ")
    assert "has changed since it made 2 of the stages in the store" in sentence
    assert "`backbench run --redo moco-v2` makes them again" in sentence
    shown = bench("show", "--format", "json").assert_ok()
    assert f"warning: {sentence}" in shown.err


def test_each_kind_of_plugin_has_code() -> None:
    for kind, name in (("attack", "patch"), ("ssl-method", "byol"), ("evaluator", "knn")):
        found = load_registry().find(kind, name)
        assert len(found.code) == 16
        assert found.code == found.code
    moved = SSLMethodInfo(name="m", summary="M.", target="backbench_ssl.byol:BYOL", options=Seen)
    assert len(Registered(moved, Origin("acme", "1.0", "m")).code.split()) == 2
