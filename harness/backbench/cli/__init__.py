"""The ``backbench`` command: one module a command, imported when it is used."""
