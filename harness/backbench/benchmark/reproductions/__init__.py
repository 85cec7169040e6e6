"""Published matrices as benchmark files, and the figures that others report of them."""
