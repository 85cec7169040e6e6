"""From the benchmark file to a plan: validated tables, instances of plugins, cells and stages."""

from pathlib import Path

#: The benchmark file, unless the user names one.
DEFAULT_FILE = Path("benchmarks.toml")
