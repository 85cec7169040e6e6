"""Let an attack learn its trigger. It sees its own images, never an evaluation."""

from __future__ import annotations

from safetensors.numpy import save_file

from backbench.errors import ResultError
from backbench.stages.attacker import Request, context_of
from backbench.stages.inputs import TRIGGER, Inputs
from backbench.stages.scores import checked_report, checked_state
from backbench.stages.task import Outcome, Task
from backbench.store.metadata import TriggerRecord


def run(task: Task) -> Outcome:
    """Write the learned trigger.

    Raises:
        ResultError: If the attack gave no arrays that can be stored.
    """
    inputs, request = Inputs(task), Request()
    attack = inputs.own_attack
    attack.fit(context_of(task, inputs.train, attack, request))
    state = checked_state(attack.state(), "the attack")
    if not state:
        raise ResultError("the attack gave no array: it has learned no trigger")
    save_file(state, task.folder / TRIGGER)
    report = checked_report(attack.report(), "the attack")
    return Outcome(TriggerRecord(request.shadow_fraction, request.references), report=report)
