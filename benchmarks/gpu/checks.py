"""Every method, attack and defense on the device against the processor."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Final

import numpy as np
from safetensors.numpy import load_file

import backbench as bb
from backbench import Planned
from backbench.model import StageKind
from backbench.plugin import SSLMethod
from backbench.plugin.registry import load_registry
from backbench.results.detectors import SCORES
from backbench.store.metadata import InspectRecord
from backbench.store.predictions import PREDICTIONS, read_predictions
from backbench.store.records import Record
from backbench.store.store import Store
from benchmarks.gpu.context import Context
from benchmarks.gpu.ready import (
    RESNET_18,
    TINY_RESNET,
    Ready,
    exact_arithmetic,
    smooth_images,
    tensors,
)

#: Steps whose losses are compared, and how far they may be apart, as a share of the loss.
STEPS: Final = 20
LOSS: Final = 1e-3

#: How far two views may be apart in [0, 1]: the sums of a filter are rounded in another order.
VIEWS: Final = 1e-3

#: Options of methods that make them fit the images of a check.
FITTING: Final[Mapping[str, Mapping[str, Any]]] = {
    "moco-v2": {"queue": 128},
    "jigsaw": {"permutations": 16},
}

#: Defenses that wrap a method.
GUARDS: Final = ("cutmix", "localized-cropping")


def method_steps(context: Context, method: str, guard: str | None = None) -> dict[str, Any]:
    """Compare views, and losses of some steps in float32, on both devices.

    Raises:
        AssertionError: If they differ by more than :data:`VIEWS` or :data:`LOSS`.
    """
    backbone = TINY_RESNET if context.tiny else {**RESNET_18, "stem": "cifar"}
    given = {"backbone": backbone, "batch_size": 32, "precision": "fp32", **FITTING.get(method, {})}
    images = smooth_images(32, 160)
    losses: list[list[float]] = []
    views = []
    with exact_arithmetic():
        for device in ("cpu", context.device):
            views.append(tensors(Ready(method, given, images, device, _guard(guard)).views()))
            losses.append(Ready(method, given, images, device, _guard(guard)).losses(STEPS))
    apart = max(
        float((one.double() - other.double()).abs().max())
        for one, other in zip(*views, strict=True)
    )
    relative = max(
        abs(one - other) / max(abs(one), 1e-6) for one, other in zip(*losses, strict=True)
    )
    found = {"views_apart": apart, "loss_apart": relative, "losses": losses}
    assert apart <= VIEWS, f"views are {apart:.2g} apart, and {VIEWS:g} is allowed: {found}"
    assert relative <= LOSS, f"losses are {relative:.2g} apart, and {LOSS:g} is allowed: {found}"
    return found


def _guard(name: str | None) -> Callable[[SSLMethod], SSLMethod]:
    if name is None:
        return lambda method: method
    registered = load_registry().find("defense", name)
    defense = registered.implementation()(registered.info.options())
    context: Any = None  # these defenses need nothing of it
    return lambda method: defense.guard(method, context)


# -- a matrix of all attacks and defenses ------------------------------------------------------

BENCHMARK: Final = Path(__file__).with_name("check.toml")

#: The stores of both.
CHECKED, REFERENCE = "check", "check-processor"


def matrix(context: Context, store: str) -> dict[str, Any]:
    """Run the matrix of all attacks and defenses in a store, as far as the slice goes.

    In :data:`REFERENCE` the processor computes, in :data:`CHECKED` the device.

    A stage that fails is named in the result, and costs no other one but those that read it.
    """
    planned = _planned(context, store)
    with until(context):
        device = "cpu" if store == REFERENCE else context.device
        run = planned.run(device=device, executor="serial")
    failed = {planned.plan.stages[key].label: reason for key, reason in run.outcome.failed.items()}
    return {
        "stages": len(planned.stages),
        "failed": {name: str(why) for name, why in failed.items()},
    }


def _planned(context: Context, name: str) -> Planned:
    store = context.out / name
    return bb.load(BENCHMARK, store=store).plan(store=store)


@contextmanager
def until(context: Context) -> Iterator[None]:
    """Stop as Ctrl-C does when the slice ends; the same call goes on in the next one."""

    def stop(signum: int, frame: FrameType | None) -> None:
        del signum, frame
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(max(1, int(context.left)))
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def compared(context: Context) -> dict[str, Any]:
    """Compare what both devices made of the matrix, stage by stage.

    Raises:
        AssertionError: If a stage has failed on the device alone, or a poison that nothing was
            learned for is another one.
    """
    ours, theirs = (_planned(context, store) for store in (CHECKED, REFERENCE))
    rows = []
    for key, stage in theirs.plan.stages.items():
        one, other = ours.store.readable(key), theirs.store.readable(key)
        if other is None:
            continue
        row: dict[str, Any] = {"stage": stage.label, "kind": stage.kind.value}
        if one is None:
            failure = ours.store.failure(key) or {}
            row |= {"missing": str(failure.get("reason", "what it reads is missing"))}
        else:
            row |= _difference(one, other, ours.store, theirs.store)
        rows.append(row)
    wrong = [row["stage"] for row in rows if "missing" in row or row.get("poison_differs")]
    assert not wrong, f"{len(wrong)} stages are missing or differ: {wrong}; all: {rows}"
    return {"rows": rows}


def _difference(one: Record, other: Record, ours: Store, theirs: Store) -> dict[str, Any]:
    """Return how far apart two artifacts of one stage are, by the measure of its kind."""
    found: dict[str, Any] = {}
    folders = ours.artifact(one.key), theirs.artifact(other.key)
    match one.stage.kind:
        case StageKind.DATASET | StageKind.POISON:
            found["equal"] = one.hashes == other.hashes
            learned = {"trigger", "encoder"} & one.stage.inputs.keys()
            found["poison_differs"] = not learned and not found["equal"]
        case StageKind.PRETRAIN | StageKind.IMPLANT | StageKind.REPAIR:
            found["weights_apart"] = _apart(*folders, "encoder*.safetensors")
        case StageKind.FEATURES:
            found["features_apart"] = _apart(*folders, "features.safetensors")
        case StageKind.PREDICT:
            shown = [read_predictions(folder / PREDICTIONS, "")[1] for folder in folders]
            found["predictions_equal"] = float((shown[0] == shown[1]).mean())
        case StageKind.DETECT | StageKind.SANITIZE:
            scores = [load_file(folder / SCORES)["scores"] for folder in folders]
            found["scores_correlated"] = float(np.corrcoef(*scores)[0, 1])
        case StageKind.INSPECT:
            verdicts = [record.of(InspectRecord).score for record in (one, other)]
            found["verdict_apart"] = abs(verdicts[0] - verdicts[1])
    return found


def _apart(one: Path, other: Path, pattern: str) -> float:
    """Return the distance of the arrays of two artifacts, as a share of their length."""
    own, wanted = (load_file(next(folder.glob(pattern))) for folder in (one, other))
    names = [name for name in wanted if np.issubdtype(wanted[name].dtype, np.floating)]
    pairs = [(own[name].astype(np.float64), wanted[name]) for name in names]
    square = sum(float(np.square(ours - theirs).sum()) for ours, theirs in pairs)
    length = sum(float(np.square(theirs).sum()) for _, theirs in pairs)
    return float(np.sqrt(square / max(length, 1e-30)))
