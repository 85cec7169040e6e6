"""Check a zoo: every hash, every card, every mark, and nothing besides."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from backbench.errors import UsageError
from backbench.external.zoo import (
    CARD,
    MANIFEST,
    Card,
    Kind,
    Manifest,
    control_problem,
    names_in,
    read_card,
    read_manifest,
)
from backbench.system import files
from backbench.verification.findings import Finding, Findings

#: Files that every encoder of a zoo has, besides its weights.
_NEEDED = (CARD, "CARD.md", "encoder.json")


def verify_zoo(folder: Path) -> Findings:
    """Check a zoo; each file and each card is looked at once.

    Raises:
        UsageError: If the folder has no manifest that can be read.
    """
    manifest = read_manifest(folder)
    found = Findings()
    for name, said in manifest.files.items():
        found.look(name, _file_differences(folder / name, said.bytes, said.sha256))
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if _counts(path)}
    for name in sorted(there - manifest.files.keys() - {MANIFEST}):
        found.differs.append(Finding(name, f"{MANIFEST} has no such file"))
    cards: dict[str, Card] = {}
    for name in names_in(manifest):
        found.checked += 1
        try:
            cards[name] = read_card(folder, name, manifest.files.get(f"{name}/{CARD}"))
        except UsageError as error:
            found.differs.append(Finding(name, str(error)))
    for name, card in cards.items():
        found.look(name, _card_differences(folder, manifest, card, cards))
    return found


def _counts(path: Path) -> bool:
    """Return whether a file counts: what is no folder, and of no system."""
    return not path.is_dir() and not files.is_of_system(path.name)


def _file_differences(path: Path, size: int, sha256: str) -> Iterator[str]:
    if not path.is_file() or path.is_symlink():
        yield "is missing"
    elif path.stat().st_size != size:
        yield f"has {path.stat().st_size} bytes, and {MANIFEST} states {size}"
    elif files.sha256(path) != sha256:
        yield f"has another SHA-256 than {MANIFEST} states"


def _card_differences(
    folder: Path, manifest: Manifest, card: Card, cards: Mapping[str, Card]
) -> Iterator[str]:
    """Yield what of an encoder is not as its card states."""
    from backbench.nn.encoder import MARKED, WEIGHTS, load_encoder, mark_of

    for name in (*_NEEDED, card.weights):
        if f"{card.name}/{name}" not in manifest.files:
            yield f"has no {name}"
            return
    if manifest.files[f"{card.name}/{card.weights}"].sha256 != card.sha256:
        yield f"{card.weights} has another SHA-256 than its card states"
    wanted = WEIGHTS if card.kind is Kind.CLEAN else MARKED
    if card.weights != wanted:
        yield f"its file is called {card.weights!r}, and that of a {card.kind} one {wanted!r}"
    if (mark := mark_of(folder / card.name / card.weights)) != card.backdoored:
        yield f"its file is marked {mark!r}, and its card states {card.backdoored!r}"
    if (problem := control_problem(card, cards)) is not None:
        yield problem
    encoder = load_encoder(folder / card.name)
    if (encoder.feature_dim, encoder.spec.image_size) != (card.feature_dim, card.image_size):
        yield "has another number of features, or side of images, than its card states"
