"""Cores that a process may use, and the time that its container has of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.conftest import give_cores

from backbench.system import cores


def groups(folder: Path, own: str, files: dict[str, str]) -> float | None:
    (folder / "own").write_text(own)
    for name, content in files.items():
        (folder / "groups" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "groups" / name).write_text(content)
    return cores.cpu_quota(folder / "own", folder / "groups")


@pytest.mark.parametrize(
    ("own", "files", "expected"),
    [
        ("0::/\n", {"cpu.max": "250000 100000\n"}, 2.5),
        ("0::/\n", {"cpu.max": "max 100000\n"}, None),
        ("0::/a/b\n", {"a/cpu.max": "50000 100000", "a/b/cpu.max": "max 100000"}, 0.5),
        ("0::/not/shown\n", {"cpu.max": "300000 100000"}, 3.0),
        (
            "4:memory:/x\n1:cpu,cpuacct:/box\n",
            {
                "cpu,cpuacct/box/cpu.cfs_quota_us": "150000\n",
                "cpu,cpuacct/box/cpu.cfs_period_us": "100000\n",
            },
            1.5,
        ),
        (
            "1:cpu:/\n",
            {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"},
            None,
        ),
        ("4:memory:/x\n", {"cpu.max": "100000 100000"}, None),
    ],
)
def test_quota_of_the_control_groups(
    tmp_path: Path, own: str, files: dict[str, str], expected: float | None
):
    assert groups(tmp_path, own, files) == expected


def test_without_control_groups_there_is_no_quota(tmp_path: Path):
    assert cores.cpu_quota(tmp_path / "none", tmp_path) is None


@pytest.mark.parametrize(
    ("quota", "expected"), [(None, 8), (2.0, 2), (2.5, 3), (0.1, 1), (64.0, 8)]
)
def test_a_quota_limits_the_cores(
    monkeypatch: pytest.MonkeyPatch, quota: float | None, expected: int
):
    give_cores(monkeypatch, list(range(8)), quota)
    assert cores.core_count() == expected
