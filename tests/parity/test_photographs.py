"""Real photographs at 224 pixels: views against torchvision on Pillow, and every method trained.

The images are found in BACKBENCH_TEST_DATA, by default ../shared/data.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from torchvision.transforms import InterpolationMode, functional

import backbench_ssl
from backbench.nn import TrainingContext
from backbench.views.batches import RaggedBatch
from backbench.views.boxes import Purpose, square_boxes
from backbench.views.views import draws_of, random_view, view_parameters
from backbench_ssl.jigsaw import Jigsaw

DATA = Path(os.environ.get("BACKBENCH_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
PHOTOGRAPHS = DATA / "imagenet100-sample.tar"
METHODS = {info.name: info for info in backbench_ssl.register_ssl_methods()}

pytestmark = pytest.mark.skipif(not PHOTOGRAPHS.is_file(), reason=f"no file {PHOTOGRAPHS}")


@pytest.fixture(scope="module")
def photographs() -> list[Image.Image]:
    """Forty photographs of many sizes."""
    with tarfile.open(PHOTOGRAPHS) as tar:
        names = sorted(member.name for member in tar if member.name.endswith(".JPEG"))[:40]
        files = [io.BytesIO(tar.extractfile(name).read()) for name in names]
    return [Image.open(file).convert("RGB") for file in files]


@pytest.fixture
def batch(photographs: list[Image.Image]):
    with ThreadPoolExecutor(1) as pool:
        yield RaggedBatch(
            [np.asarray(image) for image in photographs],
            np.arange(len(photographs)),
            epoch=0,
            seed=5,
            device=torch.device("cpu"),
            pool=pool,
        )


def through_pillow(image: Image.Image, parameters, number: int, interpolation: str):
    """Crop, jitter, gray, blur, flip: the published order, on images of bytes."""
    changes = [
        functional.adjust_brightness,
        functional.adjust_contrast,
        functional.adjust_saturation,
        functional.adjust_hue,
    ]
    top, left, height, width = (int(value) for value in parameters.boxes[number])
    view = functional.resized_crop(
        image, top, left, height, width, [224, 224], InterpolationMode(interpolation)
    )
    jitter = parameters.jitter
    if jitter.active[number]:
        for which in jitter.order[number]:
            view = changes[which](view, float(jitter.factors[number, which]))
    if jitter.gray[number]:
        view = functional.rgb_to_grayscale(view, 3)
    if parameters.sigma[number]:
        view = view.filter(ImageFilter.GaussianBlur(float(parameters.sigma[number])))
    if parameters.flip[number]:
        view = functional.hflip(view)
    return functional.to_tensor(view)


@pytest.mark.parametrize("name", ["moco-v2", "byol", "rotnet"])
def test_views(name: str, photographs: list[Image.Image], batch: RaggedBatch):
    """The same parameters give the same view, up to Pillow's rounding after every change."""
    info = METHODS[name]
    options = info.options.model_validate(info.presets["saha2022"]).views
    views = random_view(batch, options, 224, 0)
    parameters = view_parameters(draws_of(batch, 0), batch.sizes, options)
    differences = torch.stack(
        [
            views[number] - through_pillow(image, parameters, number, options.interpolation)
            for number, image in enumerate(photographs)
        ]
    )
    levels = (differences * 255).abs().flatten(1)
    plain = ~parameters.jitter.active & ~parameters.jitter.gray & (parameters.sigma == 0)
    assert plain.sum() >= 2
    assert levels[torch.from_numpy(plain)].max() < 1e-3
    assert levels.mean(1).max() < 3
    assert levels.quantile(0.999, dim=1).max() < 12
    assert abs(differences.mean().item() * 255) < 1.5


def test_squares_of_puzzles(photographs: list[Image.Image], batch: RaggedBatch):
    """Resize the short side to 256, then cut out 255: Pillow does it in two steps."""
    options = METHODS["jigsaw"].options.model_validate(METHODS["jigsaw"].presets["saha2022"])
    boxes = square_boxes(draws_of(batch, 0), 65, batch.sizes, options.resize, 255)
    squares = batch.crop(boxes, 255, isolated=False)
    for number, image in enumerate(photographs):
        resized = functional.resize(image, 256)
        zoom = resized.width / image.width, resized.height / image.height
        left, top = round(boxes[number, 1] * zoom[0]), round(boxes[number, 0] * zoom[1])
        assert 0 <= left <= resized.width - 255
        assert 0 <= top <= resized.height - 255
        expected = functional.to_tensor(functional.crop(resized, top, left, 255, 255))
        levels = ((squares[number] - expected) * 255).abs()
        assert levels.max() < 1.5
        assert levels.mean() < 0.3


def test_tiles_of_puzzles(photographs: list[Image.Image], batch: RaggedBatch):
    """Every slot holds 64 × 64 pixels of its source tile of that square."""
    values = METHODS["jigsaw"].presets["saha2022"] | {
        "grayscale": 0.0, "projection": 0.0, "permutations": 20,
    }  # fmt: skip
    options = METHODS["jigsaw"].options.model_validate(values)
    context = TrainingContext(images=40, image_size=224, steps_per_epoch=1, seed=0)
    with torch.random.fork_rng():
        task = Jigsaw(options, context)
    slots, chosen = task.views(batch)
    draws = draws_of(batch, 0)
    squares = batch.crop(square_boxes(draws, 65, batch.sizes, 256, 255), 255, isolated=False)
    offsets = draws.integers(Purpose.PLUGIN + 2, 21, 18)
    for number in range(len(photographs)):
        for k in range(9):
            row, column = offsets[number, 2 * k : 2 * k + 2]
            top, left = 85 * (k // 3) + row, 85 * (k % 3) + column
            tile = squares[number, :, top : top + 64, left : left + 64]
            slot = task._permutations[chosen[number]][k]
            assert torch.equal(slots[slot][number], tile)


TRAIN = """
import importlib, json, resource, sys, tarfile, tempfile
from pathlib import Path
import numpy as np
import torch
import backbench_ssl
from backbench.data.folder import ImageFolder
from backbench.data.dataset_options import ImageFolderOptions
from backbench.images import Subset
from backbench.training.loop import TrainingRun, pretrain

archive, changes = sys.argv[1], json.loads(sys.argv[2])
torch.set_num_threads(1)  # as fast, and not slower by ten where a core is busy

def train(info, images):
    values = {**info.presets.get("saha2022", {}), **changes[info.name]}  # or the defaults
    values["schedule"] = values["schedule"] | {"name": "constant", "warmup_steps": 0}
    options = info.options.model_validate(values)
    chosen = Subset(images, np.arange(2 * options.batch_size) % len(images))
    module, _, target = info.target.partition(":")
    method = getattr(importlib.import_module(module), target)
    calls = []
    progress = lambda done, total, values: calls.append((done, total))
    encoder, log = pretrain(method, TrainingRun(options, chosen, 0, "cpu", progress))
    with torch.no_grad():
        features = encoder(torch.rand(2, 3, 224, 224))
    return {
        "steps": calls[-1], "loss": log[-1]["loss"], "size": encoder.spec.image_size,
        "features": list(features.shape), "finite": bool(features.isfinite().all()),
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }

with tempfile.TemporaryDirectory() as folder:
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    (root,) = Path(folder).iterdir()
    for split in ("train", "val"):
        Path(folder, split).symlink_to(root)
    images = ImageFolder(ImageFolderOptions(root=Path(folder))).load("train")
    found = {info.name: train(info, images) for info in backbench_ssl.register_ssl_methods()}
print(json.dumps(found))
"""


def smaller(name: str) -> dict[str, Any]:
    """Return the options of a training of two small batches."""
    # Two images are too few where only the others of a batch keep features apart.
    size = 4 if name.startswith("sim") else 2
    change = {"epochs": 1, "batch_size": size, "knn_evaluations": 0}
    if name in {"byol", "moco-v2"}:
        change["norm_groups"] = 2
    if name == "moco-v2":
        change["queue"] = 64
    if name.startswith("sim"):  # their rates are for batches of 512
        change |= {"schedule": {"warmup_epochs": 0}, "optimizer": {"lr": 0.01}}
    return change


@pytest.fixture(scope="module")
def trained() -> dict[str, dict[str, Any]]:
    """Train every method in one process; its peak of memory is that of all before, too."""
    changes = json.dumps({name: smaller(name) for name in METHODS})
    done = subprocess.run(
        [sys.executable, "-c", TRAIN, str(PHOTOGRAPHS), changes],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_two_steps_at_full_size(name: str, trained: dict[str, dict[str, Any]]):
    """The published preset on real photographs, with smaller batches, in at most 8 GiB."""
    found = trained[name]
    assert found["steps"] == [2, 2]
    assert np.isfinite(found["loss"])
    assert found["features"] == [2, 512]
    assert found["size"] == 224
    assert found["finite"]
    assert found["peak"] < 8 * 2**30
