"""What the built-in methods, defenses and evaluators announce."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys

import pytest

import backbench_defenses
import backbench_evaluators
import backbench_ssl
from backbench.nn import SSLMethod
from backbench.plugin import DatasetMetadata, Defense, Evaluator, ImageEvaluator, PluginInfo

INFOS: list[PluginInfo] = [
    *backbench_ssl.register_ssl_methods(),
    *backbench_defenses.register_defenses(),
    *backbench_evaluators.register_evaluators(),
]
BASES = {
    "ssl-method": SSLMethod,
    "defense": Defense,
    "evaluator": (Evaluator, ImageEvaluator),
}
SMALL = DatasetMetadata(tuple("abcdefghij"), 3000, 1000, (32, 32), (300,) * 10)

each = pytest.mark.parametrize("info", INFOS, ids=lambda info: info.name)


def test_names():
    assert [info.name for info in INFOS] == [
        "moco-v2", "byol", "simclr", "simsiam", "jigsaw", "rotnet", "distill", "patch-search",
        "decree", "ssl-cleanse", "backdoor-ids", "dede",
        "fine-prune", "cutmix", "localized-cropping",
        "linear", "linear-augmented", "linear-cached", "linear-raw", "layer-probe",
        "fine-tune", "knn",
    ]  # fmt: skip


@each
def test_targets_are_there(info: PluginInfo):
    module, name = info.target.split(":")
    target = getattr(importlib.import_module(module), name)
    assert issubclass(target, BASES[info.kind])
    assert info.paper is not None
    assert info.summary.endswith(".")


@pytest.mark.parametrize(
    "info", [info for info in INFOS if "small" in info.presets], ids=lambda info: info.name
)
def test_small_presets_suit_small_images(info: PluginInfo):
    options = info.options.model_validate(info.presets["small"])
    assert list(options.problems(SMALL)) == []
    assert info.options.model_validate(json.loads(options.model_dump_json())) == options
    assert json.loads(json.dumps(info.presets["small"]))


@each
def test_schema_of_options(info: PluginInfo):
    assert info.options.model_json_schema()["properties"]


@pytest.mark.parametrize("package", ["backbench_ssl", "backbench_defenses", "backbench_evaluators"])
def test_announcing_imports_nothing_heavy(package: str):
    code = (
        f"import sys, {package}\n"
        "print([m for m in ('torch', 'faiss', 'scipy', 'PIL', 'timm') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
