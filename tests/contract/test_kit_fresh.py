"""The fresh process in which the conformance kit computes a cell by itself."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from backbench.testing.fresh import CellsContract, digests, in_fresh_process


class Plain(CellsContract):
    __test__ = False
    factor = 2

    def implementation(self) -> type[Any]:
        return object

    def of_cell(self, cell: int) -> dict[str, Any]:
        print("what is printed is no answer")
        return {"product": np.arange(4) * cell * self.factor}


class EndsTheProcess(Plain):
    def of_cell(self, cell: int) -> dict[str, Any]:
        if Path.cwd().name == "empty":
            os._exit(3)
        return super().of_cell(cell)


class ReadsAFile(Plain):
    def of_cell(self, cell: int) -> dict[str, Any]:
        return {"length": len(Path("limits.txt").read_bytes())}


class GivesOneMore(Plain):
    def of_cell(self, cell: int) -> dict[str, Any]:
        more = {"more": 1} if Path.cwd().name == "empty" else {}
        return {**super().of_cell(cell), **more}


class RemembersItsProcess(Plain):
    def of_cell(self, cell: int) -> dict[str, Any]:
        sys.modules[__name__].calls += 1  # type: ignore[attr-defined]
        return {"calls": calls}


calls = 0

BY_PATH = """
from tests.contract.test_kit_fresh import Plain


class Kit(Plain):
    factor = 3
"""


def loaded(name: str, file: Path, patch: pytest.MonkeyPatch) -> Any:
    """Import a module from a file, as pytest does."""
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    patch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


def test_a_cell_that_follows_from_its_inputs_is_the_same_there() -> None:
    Plain().test_nothing_is_kept_between_cells()


def test_what_an_instance_holds_is_there_too() -> None:
    kit = Plain()
    kit.factor = 5
    assert in_fresh_process(kit, 1) == digests(kit.of_cell(1)) != digests(Plain().of_cell(1))


def test_each_question_is_answered_by_a_process_that_has_computed_nothing() -> None:
    first, again = (in_fresh_process(RemembersItsProcess(), 1) for _ in range(2))
    assert first == again == digests({"calls": 1})


def test_a_contract_of_a_module_that_no_path_leads_to_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "nowhere", ModuleType("nowhere"))  # as pytest does
    file = tmp_path / "kit.py"
    file.write_text(BY_PATH, encoding="utf-8")
    module = loaded("nowhere.kit", file, monkeypatch)
    kit = module.Kit()
    assert kit.__module__ == "nowhere.kit"
    assert in_fresh_process(kit, 1) == digests({"product": np.arange(4) * 3})


def test_a_contract_that_no_other_process_finds_is_skipped_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Inside(Plain):
        pass

    with pytest.raises(pytest.skip.Exception, match=r"no fresh process finds .*Inside: define it"):
        Inside().test_nothing_is_kept_between_cells()
    monkeypatch.setattr(Plain, "__module__", "__main__")
    monkeypatch.setattr(sys.modules["__main__"], "Plain", Plain, raising=False)
    with pytest.raises(pytest.skip.Exception, match="defined in a notebook or script"):
        Plain().test_nothing_is_kept_between_cells()


def test_a_module_that_cannot_be_imported_there_is_skipped_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "gone.py"
    file.write_text(BY_PATH, encoding="utf-8")
    module = loaded("gone", file, monkeypatch)
    file.write_text("raise ValueError('no license')", encoding="utf-8")
    with pytest.raises(pytest.skip.Exception, match="ValueError: no license"):
        in_fresh_process(module.Kit(), 1)


def test_a_file_of_the_current_folder_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "limits.txt").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        AssertionError, match=r"FileNotFoundError.*Read no file of the current fold"
    ):
        ReadsAFile().test_nothing_is_kept_between_cells()


def test_an_array_more_is_named() -> None:
    with pytest.raises(AssertionError, match="gives other more: keep nothing"):
        GivesOneMore().test_nothing_is_kept_between_cells()


def test_a_process_that_ends_is_a_failure_and_the_next_question_is_answered() -> None:
    with pytest.raises(AssertionError, match="the process has ended"):
        EndsTheProcess().test_nothing_is_kept_between_cells()
    Plain().test_nothing_is_kept_between_cells()
