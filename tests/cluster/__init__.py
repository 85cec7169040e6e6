"""Clusters that a test starts on its own machine."""
