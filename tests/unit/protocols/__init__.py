"""Protocol cards."""
