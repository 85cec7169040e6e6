"""From a stranger's checkpoint to the tensors of one encoder; all others are counted.

A file may hold several encoders: a momentum encoder, a teacher, an average of the weights. Which is
taken, the layout says; where it does not, the user is asked.
"""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from backbench.errors import UsageError
from backbench.external.layouts import LAYOUTS, Layout

if TYPE_CHECKING:
    from torch import Tensor

#: Parts of keys that do not show which encoder it is: what holds a state dict, wraps a network
#: (DistributedDataParallel, torch.compile, FSDP), or is a usual name of the only one.
_PLAIN = frozenset(
    {
        *("state_dict", "model_state_dict", "model_state", "module", "_orig_mod"),
        *("_fsdp_wrapped_module", "_checkpoint_wrapped_module"),
        *("model", "net", "network", "encoder", "backbone"),
    }
)
_WRAPPERS = frozenset({"module", "model", "_orig_mod"})

#: A convolution of a residual block, by torchvision's name or by its place among the children.
_BLOCK = re.compile(r"(layer[1-4]|[4-7])\.\d+\.conv[123]\.weight")

#: Convolutions of half a ResNet-18.
_LEAST = 8

_DEEPEST = 32
_SHOWN = 6
_MOST_COMPARED = 1 << 32

#: Tensors by the mapping that they lie in: ``""`` for the file itself, ``state_dict.``.
Held = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Root:
    """Start of an encoder: the mapping that it lies in, and what its keys there begin with."""

    holder: str
    prefix: str

    @property
    def path(self) -> str:
        """The path as ``--prefix`` takes it."""
        return self.holder + self.prefix

    @property
    def meaning(self) -> str:
        """The part of its path that names the encoder; empty where nothing does."""
        return ".".join(part for part in self.path.split(".") if part and part not in _PLAIN)

    def names(self, held: Held) -> dict[str, Tensor]:
        """Return its tensors by their names below it."""
        values, start = held[self.holder], len(self.prefix)
        return {key[start:]: one for key, one in values.items() if key.startswith(self.prefix)}


@dataclass(frozen=True, slots=True)
class Taken:
    """The backbone's tensors by the network's names.

    Args:
        tensors: The tensors.
        left: Number of all other tensors of the file, by first name.
        prefix: Where they began.
    """

    tensors: Mapping[str, Tensor]
    left: Mapping[str, int]
    prefix: str


def take(
    layout: Layout,
    held: Held,
    source: str,
    *,
    prefix: str | None = None,
    names: Collection[str] | None = None,
    heads: Collection[str] = (),
) -> Taken:
    """Take the backbone's tensors out of a checkpoint.

    Args:
        layout: How it is laid out.
        held: The file's tensors.
        source: The file.
        prefix: Where the encoder begins; ``None``: where the layout has it.
        names: Names of the network's tensors; ``None`` for those of a ResNet of torchvision.
        heads: Heads of such a network; a ResNet has those of the layout.

    Raises:
        UsageError: If the checkpoint is not of this layout, contradicts itself, or holds several
            encoders that fit.
    """
    for part, reason in layout.refused.items():
        wrong = next((key for values in held.values() for key in values if part in key), None)
        if wrong is not None:
            raise UsageError(f"{source}: {wrong}: {reason}")
    roots = roots_of(held, names)
    root = _root(layout, held, roots, source, prefix)
    inner = tuple(_inside(layout, root, roots))
    dropped = frozenset(layout.heads if names is None else heads)
    tensors: dict[str, Tensor] = {}
    left = Counter[str]()
    for holder, values in held.items():
        if holder == root.holder:
            left.update(_beginning(key) for key in values if not key.startswith(root.prefix))
        else:
            beside = holder.removeprefix(root.holder).partition(".")[0]
            left.update(beside or _beginning(key) for key in values)
    for key, value in root.names(held).items():
        name = _renamed(layout, key)
        if key.startswith(inner) or not dropped.isdisjoint(_starts(name)):
            left[_beginning(root.prefix + key)] += 1
            continue
        if name in tensors and not _equal(tensors[name], value):
            raise UsageError(
                f"{source}: {root.path}{key} and another key for {name} hold different numbers: "
                "the file contradicts itself"
            )
        tensors[name] = value
    odd = [name for name, value in tensors.items() if not _is_plain(value)]
    if odd:
        raise UsageError(
            f"{source}: {len(odd)} tensors are sparse, quantized, nested or without numbers: "
            f"{_some(odd)}; save them as ordinary tensors"
        )
    return Taken(tensors, left, root.path)


def tensors_of(checkpoint: Mapping[Any, Any], source: str = "") -> dict[str, dict[str, Any]]:
    """Return all tensors of a file, of nested mappings and lists too, each container once."""
    found: dict[str, dict[str, Any]] = {}
    waiting: list[tuple[str, int, Any]] = [("", 0, checkpoint)]
    seen = set[int]()
    while waiting:
        holder, depth, values = waiting.pop()
        if id(values) in seen:
            continue
        if depth > _DEEPEST:
            raise UsageError(f"{source}: its containers are nested more than {_DEEPEST} deep")
        seen.add(id(values))
        inner = []
        for key, value in values.items() if isinstance(values, Mapping) else enumerate(values):
            if _is_tensor(value):
                found.setdefault(holder, {})[str(key)] = value
            elif isinstance(value, (Mapping, list, tuple)):
                inner.append((f"{holder}{key}.", depth + 1, value))
        waiting += reversed(inner)
    return found


def layout_of(
    held: Held, *, prefix: str | None = None, names: Collection[str] | None = None
) -> str | None:
    """Return the layout that a file's keys look like; ``None`` where that is open.

    Layouts that would take the same tensors under the same names are separated by the other keys of
    the file. Timm's models are never guessed: different models share all names and shapes.

    Args:
        held: The file's tensors.
        prefix: The beginning of the encoder that the user gives.
        names: Names of the tensors of timm's model that the user gives.
    """
    keys = [key for values in held.values() for key in values]
    roots = [
        root for root in roots_of(held, names) if prefix is None or root.path.startswith(prefix)
    ]
    meanings = {root.meaning if prefix is None else "" for root in roots}
    numbered = [root for root in roots if f"{root.prefix}0.weight" in held[root.holder]]
    whole = [root for root in roots if root not in numbered and root.meaning == ""]
    named = [root for root in whole if root.prefix.endswith(("backbone.", "encoder."))]
    tests = (
        ("moco", meanings & {*LAYOUTS["moco"].meanings}),
        ("byol", "model_t" in meanings),
        ("rotnet", "_feature_blocks" in meanings),
        ("backbench", prefix is None and _begins(keys, "backbone.body.")),
        ("timm", names is not None and roots),
        ("lightly", meanings & {*LAYOUTS["lightly"].meanings} and numbered),
        ("lightly", meanings & {*LAYOUTS["lightly"].meanings[1:]}),
        ("lightly", named and _begins(keys, "online_classifier.", "projection_head.")),
        ("solo-learn", named and _begins(keys, "classifier.")),
        ("jigsaw", any(_sees_nine_tiles(root.names(held)) for root in whole)),
        ("torchvision", "" in meanings),
    )
    return next((name for name, holds in tests if holds), None)


def roots_of(held: Held, names: Collection[str] | None = None) -> list[Root]:
    """Return where encoders begin: what half of the names, or as many convolutions, come after."""
    least = _LEAST if names is None else len(names) / 2
    counts = Counter[Root]()
    for holder, values in held.items():
        for key in values:
            for start in (0, *(match.end() for match in re.finditer(r"\.", key))):
                if _BLOCK.fullmatch(key, start) if names is None else key[start:] in names:
                    counts[Root(holder, key[:start])] += 1
    return [root for root, count in counts.items() if count >= least]


def hint(layout: str, held: Held) -> str:
    """Return the end of a sentence on a file that does not fit: what its keys look like."""
    guess = layout_of(held)
    if guess is not None and guess != layout:
        return f"; its keys look like layout {guess!r}: try --layout {guess}"
    return f" (its keys: {_some(_paths(held), 3)})" if held else " (it holds no tensor)"


def _root(layout: Layout, held: Held, roots: list[Root], source: str, prefix: str | None) -> Root:
    """Find the requested encoder."""
    if prefix is not None:
        return _given(held, roots, source, prefix)
    first = next((one for one in layout.meanings if any(one == r.meaning for r in roots)), None)
    if first is None:
        raise _unknown(layout, held, roots, source)
    root = next(one for one in roots if one.meaning == first)
    known = {*layout.meanings, *layout.others} - {first}
    own = root.names(held)
    rivals = [
        one
        for one in roots
        if one != root and one.meaning not in known and not _alike(own, one.names(held))
    ]
    if rivals:
        raise _ask(source, held, [root, *rivals], _hinted(layout, held))
    return root


def _inside(layout: Layout, root: Root, roots: list[Root]) -> Iterator[str]:
    """Yield what the keys of other encoders below one begin with."""
    for one in roots:
        inner = one.prefix.removeprefix(root.prefix)
        own = not inner or any(old.startswith(inner) for old in layout.renamed)
        if one.holder == root.holder and one.prefix.startswith(root.prefix) and not own:
            yield inner


def _given(held: Held, roots: list[Root], source: str, prefix: str) -> Root:
    """Return the encoder that a user has named, also without a last dot or what wraps it."""
    for one in (prefix, f"{prefix}."):
        exact = next((root for root in roots if root.path == one), None)
        if exact is not None:
            return exact
    inside = f"{prefix}." if prefix and not prefix.endswith(".") else prefix
    below = [root for root in roots if root.path.startswith(inside)]
    if len(below) == 1:
        return below[0]
    if below:
        raise _ask(source, held, below)
    for holder, values in held.items():
        if inside.startswith(holder) and _begins(values, inside.removeprefix(holder)):
            return Root(holder, inside.removeprefix(holder))
    raise UsageError(f"{source}: no key begins with {prefix!r} (its keys: {_some(_paths(held))})")


def _unknown(layout: Layout, held: Held, roots: list[Root], source: str) -> UsageError:
    """Return the error of a file whose encoders are none of the layout's."""
    guessed = _hinted(layout, held)
    if guessed:
        return UsageError(f"{source}: not of layout {layout.name!r}{guessed}")
    if roots:
        return _ask(source, held, roots)
    return UsageError(
        f"{source}: its keys fit no layout{hint(layout.name, held)}: they are not those of a "
        "ResNet of torchvision, or of the network that --arch names; of a model of timm say "
        "which: --arch timm/NAME"
    )


def _hinted(layout: Layout, held: Held) -> str:
    guess = layout_of(held)
    return hint(layout.name, held) if guess not in {None, layout.name} else ""


def _ask(source: str, held: Held, roots: list[Root], end: str = "") -> UsageError:
    """Return the error that names the encoders of a file, and the option for each."""
    more = f" and {len(roots) - _SHOWN} more" if len(roots) > _SHOWN else ""
    first = roots[:_SHOWN]
    shown = ", ".join(f"{one.path!r} ({len(one.names(held))} tensors)" for one in first) + more
    options = " or ".join(f"--prefix {_quoted(one.path)}" for one in first)
    if len(roots) == 1:
        return UsageError(
            f"{source}: its only encoder begins with {shown}, and it is not known whose that is: "
            f"if it is the one to evaluate, say {options}{end}"
        )
    return UsageError(f"{source}: holds several encoders: {shown}: say which: {options}{end}")


def _paths(held: Held) -> list[str]:
    return [holder + key for holder, values in held.items() for key in values]


def _quoted(text: str) -> str:
    """Return a text as a shell takes it, on one line."""
    if text.isprintable():
        return shlex.quote(text)
    escaped = text.encode("unicode_escape").decode().replace("'", "\\'")
    return f"$'{escaped}'"


def _alike(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    shared = one.keys() & other.keys()
    whole = len(shared) == min(len(one), len(other))
    return whole and all(_equal(one[name], other[name]) for name in shared)


def _equal(one: Any, other: Any) -> bool:
    """Compare two tensors; of what torch cannot compare, none is equal to another."""
    if not _is_plain(one) or not _is_plain(other):
        return False
    same = one.dtype == other.dtype and one.shape == other.shape
    return same and one.numel() <= _MOST_COMPARED and bool(one.equal(other))


def _renamed(layout: Layout, name: str) -> str:
    for old, new in layout.renamed.items():
        if name.startswith(old):
            return new + name.removeprefix(old)
    return name


def _is_tensor(value: Any) -> bool:
    """Return whether a value is a tensor; this module does without torch."""
    return all(hasattr(type(value), name) for name in ("shape", "dtype", "is_floating_point"))


def _is_plain(tensor: Any) -> bool:
    """Return whether a tensor is an array of numbers in memory."""
    return (
        str(tensor.layout) == "torch.strided"
        and not tensor.is_quantized
        and not tensor.is_nested
        and tensor.device.type == "cpu"
    )


def _beginning(key: str) -> str:
    """Return the part of a key by which it is counted: ``module.encoder_k``, ``fc``."""
    parts = key.split(".")
    count = next((n for n, part in enumerate(parts) if part not in _WRAPPERS), 0)
    return ".".join(parts[: count + 1])


def _starts(name: str) -> Iterator[str]:
    """Yield the beginnings of a name: of ``head.fc.weight`` ``head`` and the like."""
    parts = name.split(".")
    return (".".join(parts[:count]) for count in range(1, len(parts) + 1))


def _begins(keys: Collection[str], *prefixes: str) -> bool:
    return any(key.startswith(prefixes) for key in keys)


def _sees_nine_tiles(values: Mapping[str, Any]) -> bool:
    """Return whether the last layer reads the features of nine tiles: 9 × 512, 9 × 2048."""
    weight = values.get("fc.weight")
    if weight is None or not _is_plain(weight):
        return False
    return weight.ndim == 2 and weight.shape[1] in {9 * 512, 9 * 2048}


def _some(names: Collection[str], most: int = _SHOWN) -> str:
    more = len(names) - most
    return ", ".join([*names][:most]) + (", …" if more > 0 else "")
