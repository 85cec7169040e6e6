"""Our wheel and a stranger's, installed into a fresh environment and used."""

from __future__ import annotations

import configparser
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SAMPLE = Path(__file__).parent / "sample_plugin"
NAMES = {
    "backbench",
    "backbench_attacks",
    "backbench_defenses",
    "backbench_evaluators",
    "backbench_observers",
    "backbench_ssl",
}
MOST_BYTES = 1_000_000

pytestmark = pytest.mark.packaging


def run(*command: str | Path, cwd: Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run a command in an environment without our settings; fail with its output."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("BACKBENCH_", "COV_", "PIP_", "PYTEST_", "PYTHON"))
    }
    environment |= {"OMP_NUM_THREADS": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "NO_COLOR": "1"}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build our sdist, our wheel from it, and the sample plugin's wheel, offline."""
    out = tmp_path_factory.mktemp("dist")
    build = (sys.executable, "-m", "build", "--no-isolation", "--outdir", out)
    run(*build, ROOT, cwd=out)
    run(*build, "--wheel", SAMPLE, cwd=out)
    return out


@pytest.fixture(scope="module")
def wheel(distributions: Path) -> Path:
    (found,) = distributions.glob("backbench-*.whl")
    return found


@pytest.fixture(scope="module")
def environment(distributions: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a fresh environment that has both wheels; return its folder of commands.

    Torch and the other dependencies are those of the running environment: gigabytes that need
    no second download. ``--system-site-packages`` would not show them, since the running
    environment is itself a venv as a rule. A path in a .pth file shows the packages there, but
    no .pth file of that folder is read, so that the editable backbench of a checkout stays out
    of sight: its source is behind such a file. What is installed here comes first on the path.
    The file is written after the installation, so that pip does not see another backbench.
    """
    folder = tmp_path_factory.mktemp("fresh") / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder.parent)
    commands = folder / ("Scripts" if os.name == "nt" else "bin")
    python = commands / "python"
    install = (sys.executable, "-m", "pip", "--python", python, "install", "--quiet")
    wheels = sorted(distributions.glob("*.whl"))
    run(*install, "--no-deps", "--no-index", *wheels, cwd=folder.parent)
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    own = Path(run(python, "-c", where, cwd=folder.parent).stdout.strip())
    shown = [path for path in sys.path if Path(path).name in {"site-packages", "dist-packages"}]
    assert shown
    (own / "dependencies.pth").write_text("\n".join(shown) + "\n", encoding="utf-8")
    return commands


# -- what is in the distributions --------------------------------------------------------------


def test_wheel_holds_our_packages_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        files = archive.infolist()
        names = [file.filename for file in files]
        top = {name.partition("/")[0] for name in names}
        info = {name for name in top if name.endswith(".dist-info")}
        assert top - info == NAMES
        assert len(info) == 1
        assert {f"{name}/py.typed" for name in NAMES} <= set(names)
        assert "backbench/testing/__init__.py" in names
        ours = [name for name in names if not name.startswith("backbench/scaffold/templates/")]
        assert len(names) - len(ours) >= 7 * 6
        assert not [name for name in ours if name.endswith(".pyc") or "/tests/" in name]
        assert not [file.filename for file in files if file.file_size > MOST_BYTES]
        assert any(name.endswith("/licenses/LICENSE") for name in names)
        parser = configparser.ConfigParser()
        parser.read_string(archive.read(f"{info.pop()}/entry_points.txt").decode())
    assert dict(parser["console_scripts"]) == {"backbench": "backbench.cli.main:main"}
    assert set(parser["backbench"]) == {
        "attacks",
        "datasets",
        "defenses",
        "evaluators",
        "executors",
        "observers",
        "ssl-methods",
    }


def test_sdist_holds_what_a_wheel_and_the_tests_need(distributions: Path) -> None:
    (sdist,) = distributions.glob("backbench-*.tar.gz")
    with tarfile.open(sdist) as archive:
        members = archive.getmembers()
    names = {member.name.partition("/")[2] for member in members}
    assert {"pyproject.toml", "LICENSE", "README.md", "PKG-INFO"} <= names
    assert "tests/packaging/test_wheel.py" in names
    assert not [name for name in names if name.endswith(".pyc") or name.startswith("store/")]
    assert not [member.name for member in members if member.size > MOST_BYTES]


# -- what they do ------------------------------------------------------------------------------

BENCHMARK = """
[benchmark]
name = "sample"

[datasets.drawn]
plugin = "embedded"
classes = 3
size = 16
train_per_class = 12
val_per_class = 6

[attacks.dot]
plugin = "corner-dot"
target = "CLASS"
share = 1.0

[methods.rotnet]
preset = "small"
epochs = 1
batch_size = 8
schedule = { warmup_epochs = 0 }
backbone = { widths = [4, 8], strides = [1, 2], stem_width = 4 }

[defenses.density-filter]
drop = 0.2
neighbors = 3

[evaluators.knn]
k = 3

[[matrix]]
datasets = "drawn"
attacks = "dot"
methods = "rotnet"
defenses = ["none", "density-filter"]
evaluators = "knn"
"""


def test_plugins_of_a_stranger_are_listed_with_their_origin(
    environment: Path, tmp_path: Path
) -> None:
    done = run(environment / "backbench", "plugins", "--format", "json", cwd=tmp_path)
    listed = {(one["kind"], one["name"]): one for one in json.loads(done.stdout)}
    ours = {one["distribution"] for one in listed.values()} - {"backbench-sample"}
    assert "backbench" in ours
    for found in (listed["attack", "corner-dot"], listed["defense", "density-filter"]):
        assert (found["distribution"], found["version"]) == ("backbench-sample", "0.3.0")
        assert found["entry_point"] == "sample"
    shown = run(environment / "backbench", "plugins", "show", "density-filter", cwd=tmp_path)
    assert "backbench-sample 0.3.0" in shown.stdout
    assert "share of the images that is dropped" in shown.stdout


def test_a_benchmark_with_a_strangers_attack_and_defense_runs(
    environment: Path, tmp_path: Path
) -> None:
    where = "import backbench; print(backbench.__file__)"
    found = run(environment / "python", "-c", where, cwd=tmp_path).stdout.strip()
    assert Path(found).is_relative_to(environment.parent), "not the wheel's backbench"
    classes = "from backbench.data.embedded import class_names; print(class_names(3)[1])"
    target = run(environment / "python", "-c", classes, cwd=tmp_path).stdout.strip()
    (tmp_path / "benchmarks.toml").write_text(BENCHMARK.replace("CLASS", target), encoding="utf-8")

    backbench = environment / "backbench"
    assert "2 cells, no problem" in run(backbench, "check", cwd=tmp_path).stdout
    first = run(backbench, "run", "--jobs", "1", "--device", "cpu", cwd=tmp_path)
    assert " 0 were in the store" in first.stderr
    second = run(backbench, "run", "--jobs", "1", "--device", "cpu", cwd=tmp_path)
    assert "0 stages executed" in second.stderr

    board = json.loads(run(backbench, "show", "--format", "json", cwd=tmp_path).stdout)
    rows = {row["defense"]: row for row in board["rows"]}
    assert set(rows) == {"none", "density-filter"}
    assert {row["attack"] for row in rows.values()} == {"dot"}

    records = [
        json.loads(path.read_text(encoding="utf-8"))
        for path in (tmp_path / "store" / "records").glob("*.json")
    ]
    makers = {
        record["stage"]["kind"]: record["stage"]["plugin"]["distribution"]
        for record in records
        if record["stage"]["plugin"]
    }
    assert makers["poison"] == makers["sanitize"] == "backbench-sample"
    assert makers["pretrain"] == makers["fit"] == makers["predict"] == "backbench"
    dropped = [r["metadata"]["dropped"] for r in records if r["stage"]["kind"] == "sanitize"]
    assert len(dropped) == 2  # the poisoned training set, and the clean one as its control
    assert all(0 < count < 36 for count in dropped)


def test_a_stranger_can_use_the_conformance_kit(environment: Path, tmp_path: Path) -> None:
    kit = (environment / "python", "-B", "-m", "pytest", "-q", "-p", "no:cacheprovider")
    done = run(*kit, SAMPLE / "contract_tests.py", cwd=tmp_path)
    assert " passed" in done.stdout
