"""Run stages: the scheduler, and the executors that it gives stages to."""
