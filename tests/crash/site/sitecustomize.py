"""Put the fault that the environment names into every process of a run; see tests.crash.faults."""

from tests.crash.faults import install_from_environment

install_from_environment()
