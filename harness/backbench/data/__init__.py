"""Image sets: what the stages read, and the datasets that are built in."""
