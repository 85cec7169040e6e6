"""Training across deaths and devices: a killed worker's encoder, and that of two processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

import backbench as bb
from backbench.nn.encoder import weights_in
from backbench.store.store import Store

pytestmark = pytest.mark.slow

#: A method that dies once, after its second epoch, if there is something to die for.
PLUGIN = """
import os, signal
from pathlib import Path
from typing import Annotated
from backbench.plugin import Field, ExcludeFromKey, SSLMethodInfo, hookimpl
from backbench_ssl.method_options import RotNetOptions

class MortalOptions(RotNetOptions):
    poison: Annotated[str, ExcludeFromKey()] = Field("", description="a file: whoever finds it dies")

@hookimpl
def register_ssl_methods():
    yield SSLMethodInfo(
        name="mortal", summary="Dies.", target="mortal_method:Mortal", options=MortalOptions
    )
"""

METHOD = """
import os, signal, sys
from pathlib import Path
from backbench_ssl.rotnet import RotNet

class Mortal(RotNet):
    def after_step(self, progress):
        assert "torch._dynamo" not in sys.modules, "a compiler that takes seconds to import"
        poison = Path(self.options.poison)
        if progress.epoch == 2 and poison.is_file():
            poison.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
"""

BENCHMARK = """
[benchmark]
name = "short"
seeds = [0]

[datasets.drawn]
plugin = "embedded"
train_per_class = 20
val_per_class = 4
classes = 3

[methods.method]
plugin = "PLUGIN"
epochs = 4
batch_size = 16
precision = "fp32"
last_batch = "keep"
backbone = { name = "tiny-resnet", widths = [8, 8], strides = [2, 2] }
schedule = { name = "constant", milestones = [] }
optimizer = { lr = 0.01 }
MORE

[[matrix]]
datasets = ["drawn"]
attacks = ["none"]
methods = ["method"]
evaluators = ["knn"]
"""


def write(folder: Path, name: str, plugin: str, *more: str) -> Path:
    path = folder / name
    text = BENCHMARK.replace("PLUGIN", plugin).replace("MORE", "\n".join(more))
    path.write_text(text, encoding="utf-8")
    return path


def run(
    file: Path, store: str, site: Path | None = None, executor: str = "local"
) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **({"PYTHONPATH": str(site)} if site else {})}
    command = [sys.executable, "-m", "backbench", "run", str(file), "--store", store]
    return subprocess.run(
        [*command, "--executor", executor, "--jobs", "1"],
        cwd=file.parent,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def pretrained(store: Path) -> tuple[str, Path]:
    """Return the key and the artifact of the one encoder in a store."""
    opened = Store(store)
    (key,) = (key for key in opened.done() if weights_in(opened.artifact(key)).is_file())
    return key, opened.artifact(key)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Return a folder with the installed plugin."""
    folder = tmp_path / "site"
    info = folder / "mortal-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / "mortal_plugin.py").write_text(PLUGIN, encoding="utf-8")
    (folder / "mortal_method.py").write_text(METHOD, encoding="utf-8")
    metadata = "Metadata-Version: 2.1\nName: mortal\nVersion: 1.0\n"
    (info / "METADATA").write_text(metadata, encoding="utf-8")
    (info / "entry_points.txt").write_text(
        "[backbench]\nmortal = mortal_plugin\n", encoding="utf-8"
    )
    return folder


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
def test_a_killed_training_goes_on_to_the_same_bytes(tmp_path: Path, site: Path) -> None:
    poison = tmp_path / "poison"
    options = ("checkpoint_minutes = 0", f"poison = {json.dumps(str(poison))}")
    file = write(tmp_path, "mortal.toml", "mortal", *options)
    whole = run(file, "whole", site, "serial")
    assert whole.returncode == 0, whole.stderr
    key, expected = pretrained(tmp_path / "whole")

    poison.touch()
    killed = run(file, "killed", site)
    assert killed.returncode == 0, killed.stderr
    assert "1 tried again after a worker was lost" in killed.stderr
    checkpoint = Store(tmp_path / "killed").checkpoint(key)
    assert not poison.exists()
    assert pretrained(tmp_path / "killed")[0] == key
    found = pretrained(tmp_path / "killed")[1]
    for name in (weights_in(expected).name, "encoder.json", "log.jsonl"):
        assert (found / name).read_bytes() == (expected / name).read_bytes()
    assert not checkpoint.exists()
    resumed = {name: Store(tmp_path / name).record(key).resumed for name in ("whole", "killed")}
    assert resumed == {"whole": 0, "killed": 2}
    assert "not used" not in Store(tmp_path / "killed").log("worker-0").read_text("utf-8")


def test_two_devices_give_the_same_encoder_under_the_same_key(tmp_path: Path) -> None:
    """Over four epochs, the first process alone looks for neighbors and keeps the state.

    MoCo, since its shuffle goes wrong if the two draw different numbers after that.
    """
    files = {}
    for devices in (1, 2):
        more = ("queue = 32", "norm_groups = 2", f"devices = {devices}", "checkpoint_minutes = 0")
        files[devices] = write(tmp_path, f"{devices}.toml", "moco-v2", *more)
    here = bb.load(files[1]).run(store=tmp_path / "1", executor="serial", device="cpu")
    assert not here.outcome.failed
    done = run(files[2], "2")
    assert done.returncode == 0, done.stderr
    stores = {devices: Store(tmp_path / str(devices)) for devices in files}
    assert stores[1].done() == stores[2].done()
    key, alone = pretrained(tmp_path / "1")
    _, together = pretrained(tmp_path / "2")
    first, second = (load_file(weights_in(folder)) for folder in (alone, together))
    for name, tensor in first.items():
        assert (tensor.double() - second[name].double()).abs().max() < 1e-4, name
    for devices, store in stores.items():
        record = store.record(key)
        assert record is not None
        assert record.metadata.arithmetic["devices"] == devices
        assert record.metadata.arithmetic["precision"] == "fp32"
        assert not list((store.root / "tmp").iterdir())
