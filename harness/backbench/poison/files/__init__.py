"""A poisoned dataset as image files and lists, for training elsewhere."""
