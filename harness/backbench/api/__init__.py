"""The library: load a benchmark, plan it, run it, read its results, evaluate an encoder.

``backbench`` gives these names at first use, and the commands are a shell over them. What a call
needs is imported by the call, so that ``check`` and ``plan`` answer at once.
"""
