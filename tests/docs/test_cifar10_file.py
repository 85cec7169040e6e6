"""The benchmark file of CIFAR-10 fits a folder of images with its classes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from backbench.cli.root import cli

FILE = Path(__file__).parents[2] / "benchmarks" / "cifar10.toml"
CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder laid out as the file wants it, of 300 training images."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 30), ("test", 2)):
        for name in CLASSES:
            (tmp_path / split / name).mkdir(parents=True)
            for index in range(count):
                pixels = rng.integers(0, 256, (32, 32, 3), np.uint8)
                Image.fromarray(pixels).save(tmp_path / split / name / f"{index:04}.png")
    return tmp_path


def test_it_checks_and_plans(folder: Path) -> None:
    given = (str(FILE), "--set", f'datasets.cifar10.root="{folder}"')
    done = CliRunner().invoke(cli, ["check", *given])
    assert done.exit_code == 0, done.output
    done = CliRunner().invoke(
        cli, ["plan", *given, "--store", str(folder / "store"), "--format=json"]
    )
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["cells"]
