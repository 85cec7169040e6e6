"""Protocol cards: what must be the same before one table may hold two numbers."""
