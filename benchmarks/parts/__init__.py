"""What is measured: a module for each part, with ``rows(settings)``."""
