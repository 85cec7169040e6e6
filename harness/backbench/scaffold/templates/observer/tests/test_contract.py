"""The conformance kit over the observer: ``python -m pytest``."""

from backbench.testing import ObserverContract

import my_observer


class TestMyObserver(ObserverContract):
    """Hands the events of two runs to the observer."""

    plugin = my_observer
