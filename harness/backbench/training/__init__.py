"""What runs where: device, random numbers, batches of views, the training loop, features."""
