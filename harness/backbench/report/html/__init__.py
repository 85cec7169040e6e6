"""The report as one HTML page, or as a site of several."""
