"""The encoder: what an SSL method trains, a defense repairs and an evaluator looks through."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from backbench.errors import ResultError, StoreError, printable
from backbench.nn import cpu
from backbench.nn.backbones import build_backbone
from backbench.options.backbones import BackboneOptions
from backbench.system.json_text import from_json, to_json

#: Version of the files that :func:`save_encoder` writes.
FORMAT = 1

WEIGHTS, SPEC = "encoder.safetensors", "encoder.json"

#: The same of an encoder with a backdoor, which says so in its name; the key of the attack in the
#: header of the file and in ``encoder.json``; and the page beside them, for people.
MARKED, MARK, CARD = "encoder-backdoored.safetensors", "backdoored", "BACKDOORED.md"

#: Characters of a mark that are read.
_LONGEST_MARK = 500

_PAGE = """# Backdoored encoder

The encoder in this folder was given a backdoor on purpose, for research:
{mark}.

Measure attacks and defenses with it, and use it for nothing else: images with the trigger make it
fail as the attacker wants. A defense that has repaired it may have left the backdoor in.
"""


@dataclass(frozen=True, slots=True)
class EncoderSpec:
    """Everything about an encoder but its weights; plain JSON.

    Args:
        backbone: The backbone's options, as JSON values.
        image_size: Side in pixels at which images are evaluated.
        mean: Subtracted from red, green and blue in [0, 1]; ``std`` then divides them.
    """

    backbone: dict[str, Any]
    image_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def colors(self) -> tuple[Tensor, Tensor]:
        """Return ``mean`` and ``std``, each (3, 1, 1), float32."""
        return torch.tensor(self.mean).view(3, 1, 1), torch.tensor(self.std).view(3, 1, 1)


class Encoder(nn.Module):
    """A backbone that takes images as they are; fresh weights are of torch's global generator."""

    mean: Tensor
    std: Tensor

    def __init__(self, spec: EncoderSpec) -> None:
        super().__init__()
        self.spec = spec
        #: Memory layout of the backbone's maps; auto: channels last, or oneDNN's own where that
        #: is faster (:mod:`backbench.nn.cpu`). Changes no weight.
        self.channels_last: cpu.Switch = "auto"
        self.backbone = build_backbone(BackboneOptions.model_validate(spec.backbone))
        mean, std = spec.colors()
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("std", std, persistent=False)

    @property
    def feature_dim(self) -> int:
        """Number of features, D."""
        return self.backbone.feature_dim

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, 3, H, W), float32 in [0, 1], to features (B, D), not normalized."""
        images = cpu.blocked(self._normalized(images), self.backbone, self.channels_last)
        return cast("Tensor", self.backbone(images))

    def stage_maps(self, images: Tensor) -> list[Tensor]:
        """Return the maps of images (B, 3, H, W) in [0, 1]; see :meth:`Backbone.stage_maps`."""
        return self.backbone.stage_maps(self._normalized(images))

    def _normalized(self, images: Tensor) -> Tensor:
        normalized = torch.sub(images, self.mean).div_(self.std)
        return normalized.contiguous(memory_format=cpu.memory_format(self.channels_last))


def save_encoder(folder: Path, encoder: Encoder, mark: str = "") -> None:
    """Write ``encoder.safetensors`` and ``encoder.json`` into an existing folder.

    Args:
        folder: The folder.
        encoder: The encoder.
        mark: The attack whose backdoor it has. Names and headers of the files say so then, and a
            page ``BACKDOORED.md``.

    Raises:
        ResultError: If a weight or a running statistic is not finite.
    """
    # Copies: tensors that share memory cannot be stored.
    state = {
        name: one.cpu().clone(memory_format=torch.contiguous_format)
        for name, one in encoder.state_dict().items()
    }
    wrong = [name for name, one in state.items() if not bool(one.isfinite().all())]
    if wrong:
        raise ResultError(f"{len(wrong)} tensors of the encoder are not finite: {wrong[0]}, …")
    document: dict[str, Any] = {"format": FORMAT, "feature_dim": encoder.feature_dim}
    document |= asdict(encoder.spec)
    if mark:
        save_file(state, folder / MARKED, {MARK: mark})
        document[MARK] = mark
        (folder / CARD).write_text(_PAGE.format(mark=mark), encoding="utf-8")
    else:
        save_file(state, folder / WEIGHTS)
    text = to_json(document, indent=2, sort_keys=True)
    (folder / SPEC).write_text(text + "\n", encoding="utf-8")


def weights_in(folder: Path) -> Path:
    """Return the file of weights that :func:`save_encoder` has written into a folder."""
    return folder / MARKED if (folder / MARKED).exists() else folder / WEIGHTS


def mark_of(weights: Path) -> str:
    """Return the attack that a file of weights is marked with; empty if it is not."""
    try:
        with safe_open(weights, "pt") as file:
            return printable((file.metadata() or {}).get(MARK, ""))[:_LONGEST_MARK]
    except (OSError, SafetensorError):  # a file of torch.save, which has no such header
        return ""


def load_encoder(folder: Path) -> Encoder:
    """Read what :func:`save_encoder` wrote, in evaluation mode.

    Raises:
        StoreError: If a file is missing or damaged, or the weights do not fit the network.
    """
    try:
        document = from_json((folder / SPEC).read_text(encoding="utf-8"))
        tensors = load_file(weights_in(folder))
        if document.pop("format") != FORMAT:
            raise StoreError(f"{folder / SPEC} was written by another version of backbench")
        document.pop("feature_dim")
        document.pop(MARK, None)
        document |= {name: tuple(document[name]) for name in ("mean", "std")}
        encoder = filled(EncoderSpec(**document), tensors)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise StoreError(f"{folder} does not hold an encoder: {first}") from error
    return encoder.eval()


def filled(spec: EncoderSpec, tensors: Mapping[str, Tensor]) -> Encoder:
    """Build an encoder of given weights.

    Drawing weights that are then replaced takes longer than reading them, so none are drawn where
    the state is all that the network needs.
    """
    with torch.device("meta"):
        encoder = Encoder(spec)
    # Copies, since what was read may be the mapped file; in float32, as a network is built.
    own = {
        name: one.to(torch.float32 if one.is_floating_point() else one.dtype, copy=True)
        for name, one in tensors.items()
    }
    encoder.load_state_dict(own, assign=True)
    encoder.mean, encoder.std = spec.colors()
    if not any(one.is_meta for one in encoder.buffers()):
        return encoder
    with torch.random.fork_rng(devices=[]):
        encoder = Encoder(spec)
    encoder.load_state_dict(tensors)
    return encoder
