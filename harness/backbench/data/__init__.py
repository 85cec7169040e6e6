"""Image sets: what the stages read, and the data sets that are built in."""
