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
