"""Estimates for a plan: hours, bytes, and what 'auto' will choose."""
