"""Train an encoder without labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from backbench.errors import StageError
from backbench.images import Pixels
from backbench.model import Stage
from backbench.plugin import Defense
from backbench.plugin.calling import kind_of
from backbench.plugin.defense import MOST_CLEAN
from backbench.plugin.registry import load_registry
from backbench.seeds import derive
from backbench.stages.checks import check_poison, visibility_flag
from backbench.stages.defender import Request, context_of, trusted_images
from backbench.stages.inputs import Inputs
from backbench.stages.keeping import keep_encoder
from backbench.stages.task import Outcome, Task
from backbench.store.flags import Flag
from backbench.store.metadata import EncoderRecord, PoisonRecord
from backbench.store.store import Store
from backbench.system.json_text import to_json
from backbench.training.devices import rank_devices
from backbench.training.sanity import training_flags

if TYPE_CHECKING:
    from backbench.nn import Encoder, Ranks, SSLMethod
    from backbench.training.monitor import Trigger

UNGUARDED: Final = Flag(
    "unguarded",
    "the defense gave back the method as it was: the numbers are those of no defense",
)


def run(task: Task) -> Outcome:
    """Write the encoder and the training log."""
    import torch

    from backbench.training.device import arithmetic
    from backbench.training.distributed import together
    from backbench.training.monitor import held_out_indices

    _, options, _ = task.plugin()
    inputs = Inputs(task)
    if task.has("poison"):
        check_poison(inputs)
    order = {"stage": task.stage.to_json(), "store": str(task.store.root.absolute())}
    devices = rank_devices(task.device, task.others, options.devices)
    with together(devices, f"{__name__}:follow", order, task.folder.parent) as ranks:
        request = Request()
        encoder, log = _train(inputs, ranks, request)
    labels = inputs.poisoned_train.labels
    held_out = labels[held_out_indices(labels, task.seed)]
    keep_encoder(task.folder, encoder, task.mark, "the method")
    with (task.folder / "log.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(to_json(entry, "log.jsonl") + "\n" for entry in log)
    device = torch.device(task.device)
    flags = [
        *(visibility_flag(inputs, options) if task.has("poison") else ()),
        *training_flags(log, held_out),
        *((UNGUARDED,) if request.idle else ()),
    ]
    metadata = EncoderRecord(
        images=len(labels),
        last=log[-1] if log else {},
        arithmetic=arithmetic(options, device, encoder, len(devices)),
        clean_fraction=request.clean_fraction,
    )
    return Outcome(metadata, flags=tuple(flags))


def follow(ranks: Ranks, device: str, order: Mapping[str, Any]) -> None:
    """Train as another rank of the stage that :func:`run` runs; the result is thrown away."""
    store, stage = Store(Path(order["store"])), Stage.from_json(order["stage"])
    task = Task(stage, store, Path(), load_registry(), device, lambda *_: None)
    _train(Inputs(task), ranks, Request())


def _train(
    inputs: Inputs, ranks: Ranks, request: Request
) -> tuple[Encoder, list[dict[str, float]]]:
    """Return the encoder and the log; ``request`` grows with what a guard requests."""
    from backbench.nn import SSLMethod
    from backbench.training.loop import TrainingRun, pretrain

    task = inputs.task
    method, options, _ = task.plugin()
    if not issubclass(method, SSLMethod):
        raise TypeError(f"{method.__name__} is not a backbench.nn.SSLMethod")
    run = TrainingRun(
        options,
        inputs.poisoned_train,
        task.seed,
        task.device,
        task.progress,
        trigger=_trigger(inputs) if task.has("poison") else None,
        checkpoint=task.checkpoint,
        ranks=ranks,
    )
    return pretrain(method, run, guard_of(inputs, request))


def guard_of(inputs: Inputs, request: Request) -> Callable[[SSLMethod], SSLMethod] | None:
    """Return what wraps the method before it is trained; ``None`` without such a defense.

    ``request`` grows with the share of the training set that the defense requests as clean.
    """
    from backbench.nn import SSLMethod

    task = inputs.task
    found = task.guard()
    if found is None:
        return None
    implementation, options, _ = found
    defense: Defense = implementation(options)
    trusted = trusted_images(task, len(inputs.train))
    context = context_of(task, request, trusted, MOST_CLEAN)
    context = replace(context, progress=lambda *_: None, checkpoint=None)

    def guard(method: SSLMethod) -> SSLMethod:
        spec = method.encoder.spec
        guarded = defense.guard(method, context)
        if not isinstance(guarded, SSLMethod):
            raise StageError(f"the defense gave {kind_of(guarded)}, not an SSLMethod")
        if guarded.encoder.spec != spec:
            raise StageError("the defense gave a method with an encoder of another architecture")
        request.idle = guarded is method
        return guarded

    return guard


def _trigger(inputs: Inputs) -> Trigger:
    """Return the attack's trigger on evaluated images, for the monitor alone."""
    from backbench.training.monitor import Trigger

    attack, seed = inputs.attack, inputs.task.seed

    def stamp(image: Pixels, index: int) -> Pixels:
        rng = np.random.default_rng(derive(seed, "monitor", "trigger", index))
        return attack.stamp(image, rng, "val").pixels

    return Trigger(stamp, inputs.task.record("poison").of(PoisonRecord).target)
