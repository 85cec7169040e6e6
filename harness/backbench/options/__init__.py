"""Options of plugins: the base class, and the options of training."""
