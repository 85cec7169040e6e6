"""Let a defense judge an encoder. It sees the encoder and clean images, never the attack."""

from __future__ import annotations

from backbench.plugin import Defense
from backbench.stages.defender import Request, context_of
from backbench.stages.scores import checked_report
from backbench.stages.task import Outcome, Task
from backbench.stages.verdicts import checked_verdict, write_verdict
from backbench.store.metadata import InspectRecord


def run(task: Task) -> Outcome:
    """Write the verdict on the encoder: its score and numbers, and its evidence."""
    from backbench.nn import load_encoder

    implementation, options, _ = task.plugin()
    defense: Defense = implementation(options)
    encoder = load_encoder(task.input("encoder")).to(task.device)
    request = Request()
    given = defense.inspect(encoder, context_of(task, request))
    verdict = checked_verdict(given, "the defense")
    write_verdict(task.folder, verdict)
    report = checked_report(defense.report(), "the defense")
    record = InspectRecord(verdict.score, dict(verdict.numbers), request.clean_fraction)
    return Outcome(record, report=report)
