"""What makes training fast on a processor."""
