"""A short training on made images, in as many processes as a run uses."""

from __future__ import annotations

import contextlib
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from backbench.data.files import FileImages, LabelledFiles
from backbench.errors import BackbenchError, StageError
from backbench.estimate.cost import USUAL_SIZE, Training
from backbench.images import ArrayImages, ImageSet
from backbench.options.training import IMAGENET_MEAN, IMAGENET_STD, SSLOptions
from backbench.plugin import CleanImages, Defense, DefenseContext
from backbench.plugin.registry import load_registry
from backbench.seeds import derive
from backbench.system.arithmetic import standard_arithmetic
from backbench.system.children import start_processes
from backbench.system.cores import core_count, pin_to
from backbench.training.devices import Device

#: Seconds that each training is timed for, after its first steps.
TRIAL_S = 3.0

#: Pixels in a batch on a processor, at most; a GPU takes the batch of the options.
CPU_BATCH_PIXELS: Final = 8 * 224**2

#: Bytes of made images that are held in memory, at most; and how many files are made.
_MADE_BYTES: Final = 256 * 2**20
_FILES: Final = 16

#: Epochs of a training that the clock ends.
_MANY_EPOCHS: Final = 10**6


@dataclass(frozen=True, slots=True)
class Timing:
    """Images a second that a worker shows while the others train too; ``None`` if it failed."""

    images_per_s: float | None
    how: str


def measure(
    trainings: Sequence[Training], workers: Sequence[Device], tell: Callable[[str], None]
) -> list[Timing]:
    """Train each method for some seconds, in all workers at once."""
    if not trainings:
        return []
    pools = [start_processes(1, pin_to, worker.cores) for worker in workers]
    timings = []
    try:
        for training in trainings:
            tell(f"timing {training.name} …")
            running = [
                pool.submit(images_per_second, training, worker.device, TRIAL_S)
                for pool, worker in zip(pools, workers, strict=True)
            ]
            try:
                speed = statistics.fmean(one.result() for one in running)
            except (BackbenchError, RuntimeError, MemoryError) as error:
                reason = str(error).partition("\n")[0] or type(error).__name__
                timings.append(Timing(None, f"could not be measured: {reason}"))
                continue
            devices = ", ".join(dict.fromkeys(worker.device for worker in workers))
            where = f"in {len(workers)} process{'' if len(workers) == 1 else 'es'} on {devices}"
            timings.append(Timing(speed, f"measured {where}"))
    finally:
        for pool in pools:
            pool.shutdown(cancel_futures=True)
    return timings


def images_per_second(training: Training, device: str, seconds: float) -> float:
    """Train some steps on made images, at the real size of network, images and queues."""
    batch = first_batch(training, device)
    # The processor's seconds on a single core leave out what other programs take meanwhile.
    single = device == "cpu" and core_count() == 1
    clock = Clock(batch, seconds, time.process_time if single else time.perf_counter)
    with (
        standard_arithmetic(),
        _made_images(training, batch) as images,
        contextlib.suppress(Enough),
    ):
        _train(training, device, images=images, batch=batch, clock=clock)
    return clock.speed()


def _train(training: Training, device: str, *, images: ImageSet, batch: int, clock: Clock) -> None:
    from backbench.nn import Encoder
    from backbench.nn.encoder import EncoderSpec
    from backbench.training.loop import TrainingRun, pretrain

    use, registry = training.plugin, load_registry()
    implementation = registry.find(use.kind, use.name).implementation()
    context = DefenseContext(
        seed=0,
        device=device,
        clean=lambda fraction: CleanImages(images=images, fraction=fraction),
        progress=clock,
    )
    changed: dict[str, Any] = {"epochs": _MANY_EPOCHS, "batch_size": batch, "knn_evaluations": 0}
    if isinstance(training.options, SSLOptions):
        options = training.options.model_copy(update={**changed, "devices": 1})
        guard = None
        if training.guard is not None:
            found = registry.find(training.guard.kind, training.guard.name)
            wanted = found.info.options.model_validate(dict(training.guard.options))
            guarding: Defense = found.implementation()(wanted)
            guard = partial(guarding.guard, context=context)
        pretrain(implementation, TrainingRun(options, images, 0, device, clock), guard)
        return
    defense: Defense = implementation(training.options.model_copy(update=changed))
    spec = EncoderSpec(
        backbone=training.backbone.model_dump(mode="json"),
        image_size=training.side,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
    )
    defense.repair(Encoder(spec).to(device).eval(), context)


class Enough(Exception):  # noqa: N818 - it ends a timing run, and is no error
    """A training has been timed for long enough."""


class Clock:
    """Takes the progress calls of a training for the ticks of a clock.

    After ``seconds`` from the first tick on it ends the training.
    """

    def __init__(self, batch: int, seconds: float, now: Callable[[], float]) -> None:
        self._batch = batch
        self._seconds = seconds
        self._now = now
        self._ticks: list[tuple[float, int]] = []

    def __call__(self, done: int, _total: int, _values: Mapping[str, float]) -> None:
        """Note how many steps are done; end the training if they are enough."""
        if self._ticks and done == self._ticks[-1][1]:
            return  # the end of an epoch, reported with its last step before
        self._ticks.append((self._now(), done))
        if len(self._ticks) > 1 and self._ticks[-1][0] - self._ticks[0][0] > self._seconds:
            raise Enough

    def speed(self) -> float:
        """Return the images a second from the first tick on; fail where there is no second one."""
        if len(self._ticks) < 2:
            raise StageError("the training ended before its second progress report")
        (began, first), (ended, last) = self._ticks[0], self._ticks[-1]
        return self._batch * (last - first) / (ended - began)


def first_batch(training: Training, device: str) -> int:
    """Return the batch of a timing run: halved on a processor while its pixels are too many."""
    options = training.options
    groups = options.norm_groups if isinstance(options, SSLOptions) else 1
    # A stem without its two strides leaves sixteen times the pixels to the rest.
    pixels = training.side**2 * (1 if training.backbone.stem == "imagenet" else 16)
    batch = options.batch_size
    while device == "cpu" and batch * pixels > CPU_BATCH_PIXELS and batch % (4 * groups) == 0:
        batch //= 2
    return batch


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
        paths = [str(Path(folder, f"{number}.jpg")) for number in range(_FILES)]
        for path in paths:
            coarse = rng.integers(0, 256, (height // 8, width // 8, 3), np.uint8)
            Image.fromarray(coarse).resize((width, height)).save(path, quality=90)
        repeated = [paths[index % _FILES] for index in range(count)]
        yield FileImages(LabelledFiles(repeated, repeated, np.zeros(count, np.int64)))
