"""``python -m docs.site OUT`` builds the site into a folder; a warning is an error."""

from __future__ import annotations

import sys

from docs.site.build import build

if __name__ == "__main__":
    sys.exit(build(sys.argv[1]))
