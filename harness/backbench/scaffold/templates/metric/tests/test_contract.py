"""The conformance kit over the metric: ``python -m pytest``."""

from backbench.testing import MetricContract

from my_metric import METRIC


class TestMyMetric(MetricContract):
    """Computes the metric of some predictions."""

    info = METRIC
