"""From the benchmark file to a plan: validated tables, instances of plugins, cells and stages."""
