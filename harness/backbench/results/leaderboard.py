"""The leaderboard: rows of numbers over seeds, each with its control."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from backbench.plugin import Column
from backbench.results.statistics import Sample, Summary
from backbench.store.flags import Raised

#: The columns that every leaderboard has.
COLUMNS = (
    Column("accuracy/clean", "Acc", best="high"),
    Column("accuracy/triggered", "Acc trig.", best="high", control=True),
    Column("target_fp/clean", "FP", best="low", decimals=0),
    Column("target_fp/triggered", "FP trig.", best="low", decimals=0, control=True),
    Column("asr", "ASR", best="low", control=True),
)

#: Metrics that are the lift of another metric: its value less its control, paired by seed.
LIFTS = {
    "asr_lift": "asr",
    "fp_lift": "target_fp/triggered",
    "detector/auroc_lift": "detector/auroc",
    "detector/auprc_lift": "detector/auprc",
}


def decimals_of(metric: str) -> int:
    """Return the digits after the point of a metric without a column: none of a count of images."""
    return 0 if LIFTS.get(metric, metric).startswith(("target_tp/", "target_fp/")) else 3


@dataclass(frozen=True, slots=True)
class Reported:
    """A figure, a fraction in [0, 1] or a count, that others have published of what a row measures.

    Its ``setting`` is how it was made, and what is known to differ from ours.
    """

    value: float
    source: str
    setting: str


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the leaderboard: a cell of the matrix, or one variant of it, over its seeds.

    Args:
        names: Instance names, by field; the evaluator of a variant's row is ``knn:k=1``.
        seeds: Seeds that have a number.
        planned: Number of seeds in the benchmark.
        values: Metrics over seeds, those of ``LIFTS`` among them.
        controls: The same metrics of the clean encoder under the same trigger.
        lifts: Value less control, paired by seed.
        problem: Why a seed, or its control, is missing, if a stage failed.
        protocol: Id of the protocol card that the row follows; empty without one. Rows are
            ranked among those of the same card only.
        external: The weights were not trained here: what they have seen is not known.
        reported: Figures published elsewhere, by metric: shown beside ours, never ranked and in no
            mean.
        origin: The imported bundle that the row is of; empty for our own.
        outdated: What has changed since the numbers were made, if an older revision of a plugin
            made them; such a row is not ranked.
        uncontrolled: Number of seeds of an attacked row that have no control.
        undetected: Number of seeds for which a detector's scores are missing, its control's
            included.
        detector_reports: Names of the metrics that the detectors of its cells reported themselves.
        threat: The threat model of the attack, by :func:`~backbench.results.threat.threat_model`;
            empty without an attack, or before it has run.
        flags: What the sanity checks report of stages that the row, or its control, is made of.
        samples: The metrics seed by seed and image by image.
        control_samples: The same of the controls.
    """

    names: Mapping[str, str]
    seeds: tuple[int, ...]
    planned: int
    values: Mapping[str, Summary]
    controls: Mapping[str, Summary]
    lifts: Mapping[str, Summary]
    problem: str = ""
    protocol: str = ""
    external: bool = False
    reported: Mapping[str, Reported] = field(default_factory=dict)
    origin: str = ""
    outdated: str = ""
    uncontrolled: int = 0
    undetected: int = 0
    detector_reports: tuple[str, ...] = ()
    threat: Mapping[str, Any] = field(default_factory=dict)
    flags: tuple[Raised, ...] = ()
    samples: Mapping[str, Sample] = field(default_factory=dict, repr=False, compare=False)
    control_samples: Mapping[str, Sample] = field(default_factory=dict, repr=False, compare=False)

    @property
    def complete(self) -> bool:
        """Return whether every seed has its number, its control and its detectors' scores."""
        missing = self.uncontrolled or self.undetected
        return len(self.seeds) == self.planned and not missing

    @property
    def comparable(self) -> bool:
        """Return whether it may be compared with others: our own, and of the present revisions."""
        return not self.outdated and not self.origin

    @property
    def ranked(self) -> bool:
        """Return whether it may be ranked: complete, and comparable."""
        return self.complete and self.comparable


@dataclass(frozen=True, slots=True)
class Leaderboard:
    """Rows and the columns to show.

    ``protocol`` is the id of the benchmark's protocol card, or empty; where rows of several
    benchmarks are put together, each row's own counts. ``rescored`` is what was counted otherwise
    than the protocol states, ``folded`` what was put together in a row, and how; empty if nothing
    was. ``legend`` is the meaning of the columns, where they are not the usual columns.
    """

    benchmark: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    protocol: str = ""
    rescored: str = ""
    folded: str = ""
    legend: str = ""
