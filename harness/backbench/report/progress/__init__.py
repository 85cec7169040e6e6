"""Progress of a run: its state, its remaining time, and the displays of both."""
