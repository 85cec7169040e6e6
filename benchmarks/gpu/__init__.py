"""``python -m benchmarks gpu``: check, measure and train on a GPU, in slices of minutes."""
