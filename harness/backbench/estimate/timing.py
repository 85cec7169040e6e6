"""A short trial of a training on this machine: real sizes, made images."""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from backbench.data.files import FileImages, LabelledFiles
from backbench.errors import StageError
from backbench.estimate.cost import USUAL_SIZE, Training
from backbench.images import ArrayImages, ImageSet
from backbench.options.training import IMAGENET_MEAN, IMAGENET_STD, SSLOptions, TrainingOptions
from backbench.plugin import CleanImages, Defense, DefenseContext
from backbench.plugin.registry import Registry
from backbench.seeds import derive

#: Seconds that a trial takes at least, after its first steps; and from which on one part will do.
TRIAL_S, LONG_S = 4.0, 30.0

#: Parts of a trial, each timed by itself.
PARTS = 3

#: Pixels in a batch on a processor, at most; a GPU takes the batch that the options ask for.
CPU_BATCH_PIXELS = 8 * 224**2

#: Bytes of made images that are held in memory, at most.
_MADE_BYTES = 256 * 2**20

_FILES = 16

#: Parameters of glibc's mallopt.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3

#: Epochs of a training that a trial ends.
_MANY_EPOCHS = 10**6


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast a method trains.

    Args:
        images_per_s: Images shown a second, mean.
        spread: Standard deviation over parts of a trial, or over records; ``None`` of one alone.
        where: The device.
        how: Where it comes from.
        detail: How long it was measured, and at what batch.
    """

    images_per_s: float
    spread: float | None
    where: str
    how: str
    detail: str = ""


def try_out(training: Training, registry: Registry, device: str) -> Speed:
    """Train some steps on made images, at the real size of network, images and queues.

    Args:
        training: What is to be trained.
        registry: The installed plugins.
        device: Name of the torch device.

    Returns:
        The speed after the first steps, which are not counted.

    Raises:
        RuntimeError: Whatever torch says of what it cannot do.
    """
    import torch

    _keep_memory()
    batch = _first_batch(training, device)
    while True:
        try:
            clock = _Clock(batch)
            with _made_images(training, batch) as images, contextlib.suppress(_Enough):
                _train(training, registry, device, images=images, batch=batch, clock=clock)
            break
        except torch.OutOfMemoryError:
            smaller = _halved(training.options, batch)
            if smaller == batch:
                raise
            torch.cuda.empty_cache()
            batch = smaller
    return clock.speed(_named(device), training.options.batch_size)


def _keep_memory() -> None:
    """Have glibc keep what is freed, as in the workers of a run: twice as fast as without."""
    with contextlib.suppress(OSError, AttributeError, TypeError):  # another system's C library
        library = ctypes.CDLL(None)
        for threshold, size in ((_M_MMAP_THRESHOLD, 2**30), (_M_TRIM_THRESHOLD, 2**31 - 1)):
            library.mallopt(threshold, size)


def _named(device: str) -> str:
    """Name a device: a processor with its number of threads, a GPU with its model."""
    import torch

    if device != "cpu":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    threads = torch.get_num_threads()
    return f"cpu ({threads} thread{'s' if threads > 1 else ''})"


def _train(
    training: Training,
    registry: Registry,
    device: str,
    *,
    images: ImageSet,
    batch: int,
    clock: _Clock,
) -> None:
    from backbench.nn import Encoder
    from backbench.nn.encoder import EncoderSpec
    from backbench.training.loop import pretrain

    use = training.stage.plugin
    if use is None:
        raise TypeError(f"a {training.stage.kind} stage without a plugin")
    implementation = registry.find(use.kind, use.name).implementation()
    changed: dict[str, Any] = {"epochs": _MANY_EPOCHS, "batch_size": batch, "knn_evaluations": 0}
    if isinstance(training.options, SSLOptions):
        options = training.options.model_copy(update={**changed, "devices": 1})
        pretrain(implementation, options, images, seed=0, device=device, progress=clock)
        return
    defense: Defense = implementation(training.options.model_copy(update=changed))
    spec = EncoderSpec(
        backbone=training.backbone.model_dump(mode="json"),
        image_size=training.side,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
    )
    context = DefenseContext(
        seed=0,
        device=device,
        clean=lambda fraction: CleanImages(images=images, fraction=fraction),
        progress=clock,
    )
    defense.repair(Encoder(spec).to(device).eval(), context)


class _Enough(Exception):  # noqa: N818 - it ends a trial, and is no error
    """A trial has been long enough."""


class _Clock:
    """Takes the progress calls of a training for the ticks of a clock.

    Args:
        batch: Images a step.
    """

    def __init__(self, batch: int) -> None:
        self._batch = batch
        self._ticks: list[tuple[float, int]] = []

    def __call__(self, done: int, _total: int, _values: Mapping[str, float]) -> None:
        """Note how many steps are done; end the trial if they are enough."""
        if self._ticks and done == self._ticks[-1][1]:
            return  # an epoch has ended with the step that was told
        self._ticks.append((time.perf_counter(), done))
        elapsed = self._ticks[-1][0] - self._ticks[0][0]
        parts = len(self._ticks) - 1
        if parts and (elapsed > LONG_S or (elapsed > TRIAL_S and parts >= PARTS)):
            raise _Enough

    def speed(self, where: str, wanted: int) -> Speed:
        """Return the speed, as measured from the first tick on.

        Args:
            where: The device.
            wanted: Images a step that the options ask for.

        Raises:
            StageError: If the training has not told twice how far it is.
        """
        if len(self._ticks) < 2:
            raise StageError("it has not told how far it is")
        pairs = list(itertools.pairwise(self._ticks))
        parts = [self._batch * (b[1] - a[1]) / (b[0] - a[0]) for a, b in pairs]
        (began, first), (ended, last) = self._ticks[0], self._ticks[-1]
        batches = f"batches of {self._batch}"
        if self._batch != wanted:
            batches += f" for {wanted}"
        return Speed(
            images_per_s=self._batch * (last - first) / (ended - began),
            spread=statistics.stdev(parts) if len(parts) > 1 else None,
            where=where,
            how="measured here",
            detail=f", {len(parts)} timed in {ended - began:.0f} s, {batches}",
        )


def _first_batch(training: Training, device: str) -> int:
    """Return the batch that a trial begins with."""
    options = training.options
    batch = options.batch_size
    if device == "cpu":
        # A stem without its two strides leaves sixteen times the pixels to the rest.
        pixels = training.side**2 * (1 if training.backbone.stem == "imagenet" else 16)
        while batch * pixels > CPU_BATCH_PIXELS and _halved(options, batch) < batch:
            batch = _halved(options, batch)
    return batch


def _halved(options: TrainingOptions, batch: int) -> int:
    """Return half a batch where batch norm can still see its groups apart, else the batch."""
    groups = options.norm_groups if isinstance(options, SSLOptions) else 1
    half = batch // 2
    return half if batch % 2 == 0 and half % groups == 0 and half >= 2 * groups else batch


@contextlib.contextmanager
def _made_images(training: Training, batch: int) -> Iterator[ImageSet]:
    """Give as many images as the training has, as arrays or files as it has them."""
    rng = np.random.default_rng(derive(0, "trial"))
    count = max(training.images, batch)
    if training.metadata.size is not None:
        height, width = training.metadata.size
        count = min(count, max(batch, _MADE_BYTES // (height * width * 3)))
        pixels = rng.integers(0, 256, (count, height, width, 3), np.uint8)
        yield ArrayImages(pixels, np.zeros(count, np.int64), [""] * count)
        return
    height, width = USUAL_SIZE
    with tempfile.TemporaryDirectory(prefix="backbench-") as folder:
        paths = []
        for number in range(_FILES):
            coarse = rng.integers(0, 256, (height // 8, width // 8, 3), np.uint8)
            path = Path(folder, f"{number}.jpg")
            Image.fromarray(coarse).resize((width, height)).save(path, quality=90)
            paths.append(str(path))
        repeated = [paths[index % _FILES] for index in range(count)]
        yield FileImages(LabelledFiles(repeated, repeated, np.zeros(count, np.int64)))


def checkpoint_bytes(training: Training, registry: Registry) -> int | None:
    """Return the bytes of a method's state while it trains; ``None`` of a defense."""
    import torch

    from backbench.nn import TrainingContext

    use, options = training.stage.plugin, training.options
    if use is None or not isinstance(options, SSLOptions):
        return None
    context = TrainingContext(
        images=training.images,
        image_size=training.side,
        steps_per_epoch=options.steps_per_epoch(training.images),
        seed=0,
    )
    with torch.device("meta"):  # shapes alone
        task = registry.find(use.kind, use.name).implementation()(options, context)
    state = {id(one): one for one in task.state_dict(keep_vars=True).values()}
    moments = 2 if options.optimizer.name == "adam" else 1
    trained = [one for one in task.parameters() if one.requires_grad]
    return sum(int(one.nbytes) for one in (*state.values(), *(moments * trained)))
