"""A full disk is recognized by what raised the error, whatever was made of it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from backbench.execution.serial import run_guarded
from backbench.model import Stage, StageKind
from backbench.plugin.registry import load_registry
from backbench.store.store import Store
from backbench.system.files import is_full


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        OSError(errno.EDQUOT, "quota"),
        ValueError('Os { code: 28, kind: StorageFull, message: "No space left on device" }'),
    ],
)
def test_the_cause_of_an_error_counts(error: Exception) -> None:
    assert is_full(error)
    outer = RuntimeError("cannot be saved")
    outer.__cause__ = error
    assert is_full(outer)
    assert not is_full(OSError(errno.EIO, os.strerror(errno.EIO)))


class HostileError(Exception):
    """An error that cannot be printed."""

    def __str__(self) -> str:
        raise KeyboardInterrupt

    __repr__ = __str__


def test_an_error_that_cannot_be_printed_or_is_its_own_cause_is_no_full_disk() -> None:
    assert not is_full(HostileError())
    assert not is_full(ValueError(HostileError()))
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    assert not is_full(first)


@pytest.mark.parametrize("filename", [HostileError(), 3, b"x"])
def test_a_stage_whose_error_names_no_path_names_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, filename: object
) -> None:
    def refuse(*_args: object, **_named: object) -> None:
        error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        error.filename = filename
        raise error

    monkeypatch.setattr("backbench.execution.serial.run_stage", refuse)
    stage = Stage(StageKind.FEATURES, None, None)
    ended = run_guarded(stage, Store(tmp_path), load_registry(), "cpu", lambda *_: None)
    assert ended.reason == f"{tmp_path}: the disk is full: make room and run again"


def test_a_stage_on_a_full_disk_names_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: object, **_named: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("backbench.execution.serial.run_stage", refuse)
    stage = Stage(StageKind.FEATURES, None, None)
    ended = run_guarded(stage, Store(tmp_path), load_registry(), "cpu", lambda *_: None)
    assert ended.full
    assert ended.reason == f"{tmp_path}: the disk is full: make room and run again"
