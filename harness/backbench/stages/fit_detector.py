"""Let a detector learn from clean images, once for all triggers."""

from __future__ import annotations

from typing import Any

from safetensors.numpy import save_file

from backbench.errors import ResultError
from backbench.options.training import TrainingOptions
from backbench.plugin import Defense
from backbench.stages.defender import Request, context_of
from backbench.stages.evaluators import unchanged
from backbench.stages.scores import checked_report, checked_state
from backbench.stages.task import Outcome, Task
from backbench.store.metadata import FitDetectorRecord

#: File of a fitted detector.
DETECTOR = "detector.safetensors"


def run(task: Task) -> Outcome:
    """Write what the detector has learned. It sees the encoder and clean training images."""
    import torch

    from backbench.nn import load_encoder
    from backbench.training.device import arithmetic

    implementation, options, _ = task.plugin()
    defense: Defense = implementation(options)
    encoder = load_encoder(task.input("encoder")).to(task.device)
    request = Request()
    with unchanged(encoder, "the detector"):
        defense.fit(encoder, context_of(task, request))
    state = checked_state(defense.state(), "the detector")
    if not state:
        raise ResultError("the detector gave an empty state: what it has learned would be lost")
    save_file(state, task.folder / DETECTOR)
    found: dict[str, Any] = {}
    if isinstance(options, TrainingOptions):
        found = arithmetic(options, torch.device(task.device), encoder)
    report = checked_report(defense.report(), "the detector")
    return Outcome(FitDetectorRecord(request.clean_fraction, found), report=report)
