"""Let an attack change an encoder. It sees the encoder and its own images, never an evaluation."""

from __future__ import annotations

from backbench.errors import StageError
from backbench.stages.attacker import Request, context_of
from backbench.stages.changing import STATISTICS_ALONE, Changed, changed_by
from backbench.stages.inputs import Inputs
from backbench.stages.keeping import keep_encoder
from backbench.stages.scores import checked_report
from backbench.stages.task import Outcome, Task
from backbench.store.metadata import ImplantRecord


def run(task: Task) -> Outcome:
    """Write the encoder with its backdoor.

    Raises:
        StageError: If the attack gave no other encoder of the same architecture.
    """
    from backbench.nn import load_encoder

    inputs = Inputs(task)
    known = Inputs(task, "downstream") if task.has("downstream") else inputs
    attack = known.own_attack
    clean = load_encoder(task.input("encoder")).to(task.device)
    request = Request()
    context = context_of(task, inputs.train, attack, request, known.train, side=known.val_side)
    implanted, changed = changed_by(lambda one: attack.implant(one, context), clean, "attack")
    if changed is Changed.NOTHING:
        raise StageError("the attack gave the clean encoder: no weight has changed")
    keep_encoder(task.folder, implanted, task.mark, "the attack")
    report = checked_report(attack.report(), "the attack")
    flags = (STATISTICS_ALONE,) if changed is Changed.STATISTICS else ()
    return Outcome(ImplantRecord(request.shadow_fraction, request.references), flags, report)
