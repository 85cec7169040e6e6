"""Training: device, random numbers, batches of views, the training loop, features."""
