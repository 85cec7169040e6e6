"""Options of the executor ``ray``. They need no ray."""

from __future__ import annotations

from pydantic import Field

from backbench.options.base import Options


class RayOptions(Options):
    """Options of the executor ``ray``; they are in no key."""

    address: str = Field(
        "",
        description="HOST:PORT of the cluster, or auto for the one of this machine; empty: "
        "RAY_ADDRESS, else a cluster of this machine for the run",
    )
