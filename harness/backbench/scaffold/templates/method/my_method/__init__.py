"""Announce the method. Every command imports this module: do not import torch here."""

from __future__ import annotations

from collections.abc import Iterable

from backbench.plugin import Citation, Field, SSLMethodInfo, TwoViewOptions, hookimpl


class MyMethodOptions(TwoViewOptions):
    """Options of the method, besides those of every training on two views."""

    dim: int = Field(64, ge=2, description="width of the projections")
    hidden: int = Field(128, ge=1, description="width of the hidden layer of the projection head")
    uniformity: float = Field(0.5, ge=0, description="weight of the uniformity loss")


METHOD = SSLMethodInfo(
    name="my-method",
    summary="Aligns the two views of an image, and spreads the images over the sphere.",
    target="my_method.method:MyMethod",
    options=MyMethodOptions,
    passes=2,  # two views of each image go through one network
    paper=Citation(
        authors="Wang and Isola",
        title="Understanding contrastive representation learning through alignment and uniformity "
        "on the hypersphere",
        venue="ICML",
        year=2020,
    ),
)


@hookimpl
def register_ssl_methods() -> Iterable[SSLMethodInfo]:
    """Announce the method."""
    yield METHOD
