"""Recompute what a store or a bundle claims, and name what differs. Nothing here imports torch."""
