"""Read an encoder that was trained elsewhere. Nothing in its file is run."""

from __future__ import annotations

from backbench.errors import UsageError
from backbench.external.encoder_options import ImportOptions
from backbench.external.importing import import_encoder
from backbench.external.reader import content_of
from backbench.stages.task import Outcome, Task
from backbench.store.metadata import ImportRecord


def run(task: Task) -> Outcome:
    """Write the encoder as a training would, and what of the file it is."""
    from backbench.nn import save_encoder
    from backbench.nn.encoder import mark_of

    use = task.stage.plugin
    if use is None:
        raise TypeError("an import needs a file and a layout")
    options = ImportOptions.model_validate(dict(use.options))
    if content_of(options.weights) != task.stage.content:
        raise UsageError(f"{options.weights}: has changed since it was planned: run again")
    encoder, taken = import_encoder(options)
    save_encoder(task.folder, encoder, mark_of(options.weights))
    metadata = ImportRecord(
        source=options.weights.name,
        sha256=task.stage.content,
        layout=options.layout,
        taken=len(taken.tensors),
        left=dict(sorted(taken.left.items())),
    )
    return Outcome(metadata)
