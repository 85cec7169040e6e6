"""The executor ``ray``: stages on the nodes of a Ray cluster."""
