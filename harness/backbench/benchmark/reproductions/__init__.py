"""Published matrices as benchmark files."""
