"""The poisoned images of a dataset: which ones, how they change, and their manifest."""
