"""Announce the metric. Every command imports this module: do not import torch here."""

from __future__ import annotations

from collections.abc import Iterable

from backbench.plugin import MetricInfo, hookimpl

METRIC = MetricInfo(
    name="my-metric",
    summary="Accuracy of the class that fares worst, with the trigger where there is an attack.",
    target="my_metric.metric:my_metric",
    title="Worst class",
    best="high",
    control=True,
    bounds=(0.0, 1.0),
)


@hookimpl
def register_metrics() -> Iterable[MetricInfo]:
    """Announce the metric."""
    yield METRIC
