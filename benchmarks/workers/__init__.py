"""Processes that are timed: a module for each contender."""
