"""What a plan will cost: hours, bytes, and what 'auto' will choose."""
