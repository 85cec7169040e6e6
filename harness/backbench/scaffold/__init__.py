"""New plugins, each a copy of a distribution that works as it stands.

A folder of ``templates/`` holds the distribution ``my-attack``, ``my-method`` and so on: linted,
typed and run as the rest of the code. A new plugin is a copy under another name.
"""

from backbench.scaffold.new import TEMPLATES, new_plugin

__all__ = ["TEMPLATES", "new_plugin"]
