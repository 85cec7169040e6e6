"""The report as one HTML page, or as a site of several."""

from typing import Final

#: So many cells of a page get figures.
MOST_FIGURES: Final = 64
