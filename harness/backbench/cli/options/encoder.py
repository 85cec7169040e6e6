"""Options for how ``evaluate`` reads a file of weights."""

from __future__ import annotations

import click

from backbench.cli.options.paths import UserPath
from backbench.cli.options.shared import together
from backbench.external.encoder_options import NORMALIZATIONS
from backbench.external.layouts import AUTO
from backbench.options.base import MOST_SIDE

encoder_options = together(
    click.option(
        "--weights",
        type=UserPath(),
        required=True,
        help="File of weights; of our own encoders, their folder.",
    ),
    click.option(
        "--layout",
        default=AUTO,
        show_default=True,
        help="How the file is laid out; auto: as its keys say.",
    ),
    click.option(
        "--prefix", metavar="TEXT", help="Where the encoder begins in the file: state_dict_ema."
    ),
    click.option(
        "--arch", metavar="NAME", help="resnet18, …, timm/NAME. Default: as the shapes say."
    ),
    click.option(
        "--stem",
        type=click.Choice([AUTO, "imagenet", "cifar", "cifar-padded"]),
        default=AUTO,
        show_default=True,
        help="First layers of a ResNet; auto: as the first kernel says.",
    ),
    click.option(
        "--image-size",
        type=click.IntRange(1, MOST_SIDE),
        help="Side in pixels at which images are seen. Default: the dataset's own, else 224.",
    ),
    click.option(
        "--normalize",
        metavar="NAME",
        help=f"{', '.join(NORMALIZATIONS)}, or means/deviations: 0.5,0.5,0.5/0.25,0.25,0.25. "
        "Default: imagenet.",
    ),
    click.option("--name", metavar="NAME", help="Name of the row. Default: the file's."),
    click.option(
        "--control",
        type=UserPath(),
        help="An encoder that was trained alike on clean data, in the same layout.",
    ),
    click.option(
        "--classifier", type=UserPath(), help="classifier.safetensors of a fit stage, to be used."
    ),
)
