"""How stages are executed: the scheduler, and the executors that it hands stages to."""

from backbench.execution.executor import Executor, Finished, Progressed, Setup, Signal

__all__ = ["Executor", "Finished", "Progressed", "Setup", "Signal"]
