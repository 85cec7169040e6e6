"""From a stranger's checkpoint to an encoder, or to one sentence on why it is none.

Every tensor of the network comes out of the file, and every tensor that the layout takes goes into
the network: nothing keeps the numbers that it was initialized with. ``num_batches_tracked`` alone
may be missing (torch before 0.4.1 had none): it counts training steps, evaluation never reads it,
and it is then 0.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pydantic import ValidationError

from backbench.errors import UsageError
from backbench.external.encoder_options import NORMALIZATIONS, ImportOptions
from backbench.external.layouts import AUTO, LAYOUTS, OWN, Layout
from backbench.external.reader import read_checkpoint, weights_file
from backbench.external.state_dicts import Held, Taken, hint, layout_of, take, tensors_of
from backbench.options.backbones import BackboneOptions
from backbench.options.resnets import RESNETS, ResNet
from backbench.options.training import RGB
from backbench.plugin.suggestions import nearest, suggestion
from backbench.system.json_text import from_json

if TYPE_CHECKING:
    from torch import Tensor

    from backbench.nn import Encoder

#: Names in a list of problems; the rest are counted.
_SHOWN = 20

_COUNTER = "num_batches_tracked"

_BLOCK = re.compile(r"layer([1-4])\.(\d+)\.conv([123])\.weight")


def inspect(
    path: Path,
    *,
    layout: str = AUTO,
    prefix: str | None = None,
    arch: str | None = None,
    stem: str = AUTO,
    image_size: int | None = None,
    normalize: tuple[RGB, RGB] | None = None,
    usual_size: int = 224,
) -> tuple[ImportOptions, Taken]:
    """Find out what a file of weights is; return the complete import, and its tensors.

    Raises:
        UsageError: If it cannot be imported.
    """
    if layout != AUTO and layout not in LAYOUTS:
        raise UsageError(f"--layout: nothing is called {layout!r}{suggestion(layout, LAYOUTS)}")
    named = _named(layout, arch)
    names, heads = _network(named)
    path = weights_file(path)
    held = tensors_of(read_checkpoint(path), str(path))
    if layout == AUTO:
        guess = layout_of(held, prefix=prefix, names=names)
        layout = guess or ("torchvision" if names is None else "timm")
    chosen = LAYOUTS[layout]
    if chosen.name == "backbench":
        if arch or stem != AUTO or image_size or normalize or prefix is not None:
            raise UsageError(
                f"{path}: encoder.json describes an encoder of ours: leave out --arch, --stem, "
                "--image-size, --normalize and --prefix"
            )
        options = _own(path)
        taken = take(chosen, held, str(path), prefix=OWN)
    else:
        taken = take(chosen, held, str(path), prefix=prefix, names=names, heads=heads)
        mean, std = normalize or NORMALIZATIONS["imagenet"]
        options = ImportOptions(
            weights=path,
            layout=chosen.name,
            prefix=taken.prefix,
            backbone=_backbone(chosen, taken, held, path, arch=named, stem=stem),
            image_size=image_size or usual_size,
            mean=mean,
            std=std,
        )
    _filled(options, taken, held)
    return options, taken


def import_encoder(options: ImportOptions) -> tuple[Encoder, Taken]:
    """Build the encoder of a file, in evaluation mode."""
    path, name = options.weights, options.backbone.name
    held = tensors_of(read_checkpoint(path), str(path))
    names, heads = _network(name)
    taken = take(
        LAYOUTS[options.layout], held, str(path), prefix=options.prefix, names=names, heads=heads
    )
    return _filled(options, taken, held), taken


def describe(options: ImportOptions, taken: Taken) -> str:
    """Return one line on what is imported and what is left aside."""
    backbone = options.backbone
    stem = "" if "/" in backbone.name or backbone.name == "tiny-resnet" else f" ({backbone.stem})"
    left = ", ".join(f"{name} {count}" for name, count in sorted(taken.left.items()))
    return (
        f"{options.weights.name}: layout {options.layout}, {backbone.name}{stem}, "
        f"{options.image_size} px, mean {_numbers(options.mean)}, std {_numbers(options.std)}; "
        f"{len(taken.tensors)} tensors taken, "
        + (f"{sum(taken.left.values())} left aside ({left})" if left else "none left aside")
    )


def _own(path: Path) -> ImportOptions:
    """Return the import of an encoder that we have written."""
    from backbench.nn.encoder import SPEC

    try:
        spec = from_json((path.parent / SPEC).read_text(encoding="utf-8"))
        return ImportOptions(
            weights=path,
            layout="backbench",
            prefix=OWN,
            backbone=BackboneOptions.model_validate(spec["backbone"]),
            image_size=spec["image_size"],
            mean=tuple(spec["mean"]),
            std=tuple(spec["std"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{path}: {path.parent / SPEC} should describe this encoder, and cannot be read "
            f"({str(error).splitlines()[0]})"
        ) from error


def _named(layout: str, arch: str | None) -> str | None:
    """Return the network that was requested; of timm's layout, one of timm's."""
    if layout != "timm":
        return arch
    if arch is None:
        raise UsageError("--layout timm: name the model with --arch: different models share shapes")
    return arch if arch.startswith("timm/") else f"timm/{arch}"


def _network(arch: str | None) -> tuple[Collection[str] | None, tuple[str, ...]]:
    """Return the names of a network's tensors and of its heads; ``None`` for torchvision's."""
    if arch is None or not arch.startswith("timm/"):
        return None, ()
    import timm

    name = arch.removeprefix("timm/")
    if not timm.is_model(name):
        close = nearest(name, timm.list_models())
        also = f": did you mean {close!r}?" if close else ""
        raise UsageError(f"--arch: timm {timm.__version__} has no {name!r}{also}")
    configuration = timm.get_pretrained_cfg(name)
    heads: Any = configuration and configuration.classifier
    wanted = _wanted(BackboneOptions(name=arch))
    return wanted.keys(), (heads,) if isinstance(heads, str) else tuple(heads or ())


def _wanted(backbone: BackboneOptions) -> Mapping[str, Tensor]:
    """Return a network's tensors, without numbers."""
    import torch

    from backbench.nn.backbones import build_backbone

    with torch.device("meta"):
        return build_backbone(backbone).body.state_dict()


def _backbone(
    layout: Layout,
    taken: Taken,
    held: Held,
    path: Path,
    *,
    arch: str | None,
    stem: str,
) -> BackboneOptions:
    shapes = {name: tuple(tensor.shape) for name, tensor in taken.tensors.items()}
    arch = arch or resnet_of(shapes)
    if arch is None:
        raise UsageError(
            f"{path}: the shapes are of no ResNet of torchvision: say --arch"
            f"{hint(layout.name, held)}"
        )
    if stem == AUTO:
        stem = "imagenet"
        if arch in RESNETS:
            stem = stem_of(shapes, padded=layout.padded_stem) or stem
        shared = {"backbone", "encoder"} & {*taken.prefix.split(".")}
        if stem == "cifar" and layout.name == "torchvision" and shared:
            raise UsageError(
                f"{path}: its first kernel is 3 × 3, and below {taken.prefix!r} some libraries pad "
                "it by one pixel and solo-learn by two: say --stem cifar or --stem cifar-padded"
            )
    try:
        return BackboneOptions(name=arch, stem=cast("Any", stem))
    except ValidationError as error:
        reasons = "; ".join(
            one["msg"].removeprefix("Value error, ") for one in error.errors(include_url=False)
        )
        raise UsageError(f"--arch {arch} --stem {stem}: {reasons}") from None


def resnet_of(shapes: Mapping[str, tuple[int, ...]]) -> str | None:
    """Name the torchvision ResNet of these tensors without a head; ``None`` if there is none."""
    blocks = [0, 0, 0, 0]
    kernels = 0
    for name in shapes:
        match = _BLOCK.fullmatch(name)
        if match is not None:
            stage, block, kernel = map(int, match.groups())
            blocks[stage - 1] = max(blocks[stage - 1], block + 1)
            kernels = max(kernels, kernel)
    inner = shapes.get("layer1.0.conv2.weight", ())
    if len(inner) != 4:
        return None
    found = ResNet(tuple(blocks), kernels, inner[0], inner[1])
    return next((name for name, known in RESNETS.items() if known == found), None)


def stem_of(shapes: Mapping[str, tuple[int, ...]], *, padded: bool = False) -> str | None:
    """Return the stem of a ResNet by its first convolution; ``padded``: a 3×3 stem pads by 2."""
    kernel = shapes.get("conv1.weight", ())[2:]
    if kernel == (7, 7):
        return "imagenet"
    if kernel == (3, 3):
        return "cifar-padded" if padded else "cifar"
    return None


def _filled(options: ImportOptions, taken: Taken, held: Held) -> Encoder:
    """Return the network with the file's weights in it, and no others."""
    import torch

    from backbench.nn import EncoderSpec
    from backbench.nn.encoder import filled

    spec = EncoderSpec(
        backbone=options.backbone.model_dump(mode="json"),
        image_size=options.image_size,
        mean=options.mean,
        std=options.std,
    )
    wanted = _wanted(options.backbone)
    tensors = dict(taken.tensors)
    for name, tensor in wanted.items():
        if name.endswith(_COUNTER) and name not in tensors:
            tensors[name] = torch.zeros_like(tensor, device="cpu")
    problems = _problems(tensors, wanted)
    if problems:
        raise UsageError(
            f"{options.weights}: does not fit {_what(options, tensors)}: {'; '.join(problems)}"
            f"{_advice(options, held)}"
        )
    weights = {f"backbone.body.{name}": tensor for name, tensor in tensors.items()}
    return filled(spec, weights).eval()


def _problems(tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> list[str]:
    """Return what keeps tensors from being a network's: empty if they are."""
    missing = [name for name in wanted if name not in tensors]
    surplus = [name for name in tensors if name not in wanted]
    shared = [name for name in wanted if name in tensors]
    shapes = [
        f"{name} {tuple(tensors[name].shape)}, not {tuple(wanted[name].shape)}"
        for name in shared
        if tensors[name].shape != wanted[name].shape
    ]
    kinds = [
        f"{name} {tensors[name].dtype}"
        for name in shared
        if wanted[name].is_floating_point() and not tensors[name].is_floating_point()
    ]
    same = [
        name
        for name in shared
        if tensors[name].is_floating_point() and tensors[name].shape == wanted[name].shape
    ]
    numbers = [name for name in same if not bool(tensors[name].float().isfinite().all())]
    variances = [
        name for name in same if name.endswith("running_var") and bool((tensors[name] < 0).any())
    ]
    found = (
        ("missing", missing),
        ("too many", surplus),
        ("of another shape", shapes),
        ("without fractions", kinds),
        ("not finite in single precision", numbers),
        ("below zero", variances),
    )
    return [f"{len(names)} {title}: {_list(names)}" for title, names in found if names]


def _list(names: list[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _what(options: ImportOptions, tensors: Mapping[str, Tensor]) -> str:
    backbone = options.backbone
    found = resnet_of({name: tuple(tensor.shape) for name, tensor in tensors.items()})
    other = f" (the shapes are those of {found})" if found not in {None, backbone.name} else ""
    return f"{backbone.name}{other}"


def _advice(options: ImportOptions, held: Held) -> str:
    guess = layout_of(held)
    return "" if guess in {None, options.layout} else hint(options.layout, held)


def _numbers(values: RGB) -> str:
    return "/".join(f"{value:g}" for value in values)
