"""Let an attack change an encoder. It sees the encoder and its own images, never an evaluation."""

from __future__ import annotations

from backbench.errors import StageError
from backbench.stages.attacker import Request, context_of
from backbench.stages.inputs import Inputs
from backbench.stages.task import Outcome, Task
from backbench.store.metadata import ImplantRecord


def run(task: Task) -> Outcome:
    """Write the encoder with its backdoor.

    Raises:
        StageError: If the attack gave no other encoder of the same architecture.
    """
    from backbench.nn import Encoder, load_encoder, save_encoder

    inputs = Inputs(task)
    known = Inputs(task, "downstream") if task.has("downstream") else inputs
    attack = known.own_attack
    clean = load_encoder(task.input("encoder")).to(task.device)
    request = Request()
    context = context_of(task, inputs.train, attack, request, known.train)
    implanted = attack.implant(clean, context)
    if not isinstance(implanted, Encoder):
        raise StageError(f"the attack gave a {type(implanted).__name__}, not an Encoder")
    if implanted.spec != clean.spec:
        raise StageError("the attack gave an encoder of another architecture")
    weights = implanted.state_dict()
    if all(one.cpu().equal(weights[name].cpu()) for name, one in clean.state_dict().items()):
        raise StageError("the attack gave the clean encoder: no weight has changed")
    save_encoder(task.folder, implanted, task.mark)
    return Outcome(ImplantRecord(request.shadow_fraction, request.references))
