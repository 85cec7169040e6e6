"""What is fuzzed: which file is changed, how, and which command reads it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from hypothesis import strategies as st

from tests.fuzz import mutations, samples
from tests.fuzz.mutations import Draw

#: A command line; or a function of ours that a command would call late, with torch.
Work = tuple[str, ...] | Callable[[], object]


@dataclass(frozen=True)
class Case:
    """Files that replace those of the sample, and what reads them."""

    files: dict[str, bytes]
    work: Work = field(repr=False)


Reader = Callable[[Draw, Path], Case]


def benchmark(draw: Draw, folder: Path) -> Case:
    """Benchmark files."""
    name = draw(st.sampled_from(("benchmarks.toml", "poison.toml", "lists.toml")))
    content = mutations.document(draw, name, (folder / name).read_bytes())
    commands: tuple[tuple[str, ...], ...] = (("check", name), ("check", name), ("plan", name))
    if name == "poison.toml":
        commands = (("poison", name, "--out", "out", "--jobs", "1"),)
    return Case({name: content}, draw(st.sampled_from(commands)))


def lists(draw: Draw, folder: Path) -> Case:
    """Lists of images."""
    name = draw(st.sampled_from(("train.txt", "val.txt")))
    change = draw(st.sampled_from((mutations.bytes_, mutations.text, mutations.text)))
    return Case({name: change(draw, (folder / name).read_bytes())}, ("check", "lists.toml"))


def records(draw: Draw, folder: Path) -> Case:
    """Records, the index of a store, remembered hashes."""
    held = [path for path in _files(folder, "store") if "/artifacts/" not in path]
    name = draw(st.sampled_from(held))
    content = mutations.document(draw, name, (folder / name).read_bytes())
    return Case({name: content}, draw(_OF_A_STORE))


def manifests(draw: Draw, folder: Path) -> Case:
    """Manifests, predictions and all else of an artifact, with the hashes of what is there."""
    held = [path for path in _files(folder, "store") if "/artifacts/" in path]
    name = draw(st.sampled_from([*held, *(path for path in held if path.endswith(".jsonl"))]))
    content = mutations.document(draw, name, (folder / name).read_bytes())
    files = {name: content}
    if draw(st.integers(0, 3)):
        _, _, key, file = name.split("/")
        record = f"store/records/{key}.json"
        fields = json.loads((folder / record).read_bytes())
        fields["files"][file] = _identity(content)
        files[record] = json.dumps(fields).encode()
    return Case(files, draw(_OF_A_STORE))


def bundles(draw: Draw, folder: Path) -> Case:
    """Bundles of strangers, with the hashes of what is in them."""
    data = (folder / "bundle.zip").read_bytes()
    if draw(st.integers(0, 3)):
        held = mutations.members(data)
        name = draw(st.sampled_from([*sorted(held), "plan.json", "bundle.json", "benchmark.toml"]))
        held[name] = mutations.document(draw, name, held[name])
        header = json.loads(held["bundle.json"]) if name != "bundle.json" else {}
        if "files" in header:
            header["files"][name] = _identity(held[name])
            held["bundle.json"] = json.dumps(header).encode()
        data = mutations.packed(list(held.items()))
    else:
        data = mutations.archive(draw, data)
    return Case({"bundle.zip": data}, (draw(st.sampled_from(("verify", "import"))), "bundle.zip"))


def ini(draw: Draw, folder: Path) -> Case:
    """Published configuration files."""
    change = draw(st.sampled_from((mutations.bytes_, mutations.text, mutations.text)))
    content = change(draw, (folder / "published.cfg").read_bytes())
    return Case(
        {"published.cfg": content}, ("poison", "published.cfg", "--out", "out", "--jobs", "1")
    )


def weights(draw: Draw, folder: Path) -> Case:
    """Headers and bytes of weights, ours and other people's."""
    name = draw(
        st.sampled_from(
            ("encoder/encoder.json", "encoder/encoder.safetensors", "weights.safetensors",
             "weights.pth", "weights.pt")
        )
    )  # fmt: skip
    content = (folder / name).read_bytes()
    if name.endswith(".safetensors") and draw(st.booleans()):
        length = int.from_bytes(content[:8], "little")
        head = mutations.json_(draw, content[8 : 8 + length])
        content = len(head).to_bytes(8, "little") + head + content[8 + length :]
    elif name.endswith(".pth"):
        content = mutations.archive(draw, content)
    else:
        content = mutations.document(draw, name, content)
    target = name.partition("/")[0] if "/" in name else name
    return Case({name: content}, lambda: _import(Path(target)))


def zoos(draw: Draw, folder: Path) -> Case:
    """Manifests, cards and encoders of a zoo, with the hashes of what is there."""
    name = draw(st.sampled_from(_files(folder, "zoo")))
    content = mutations.document(draw, name, (folder / name).read_bytes())
    files = {name: content}
    if name != "zoo/zoo.json" and draw(st.integers(0, 3)):
        manifest = json.loads((folder / "zoo" / "zoo.json").read_bytes())
        manifest["files"][name.removeprefix("zoo/")] = _identity(content)
        files["zoo/zoo.json"] = json.dumps(manifest).encode()
    commands = (("zoo", "verify", "zoo"), ("check", "zoo.toml"), ("plan", "zoo.toml"))
    return Case(files, draw(st.sampled_from(commands)))


def images(draw: Draw, folder: Path) -> Case:
    """Images of every format."""
    name, content = draw(st.sampled_from(_IMAGES))
    content = mutations.bytes_(draw, content)
    (some,) = sorted((folder / "photos" / "train").glob("*/0.png"))[:1]
    path = str(some.with_name(name).relative_to(folder))
    if draw(st.integers(0, 3)):
        return Case({path: content}, lambda: _decode(Path(path)))
    return Case({path: content}, ("poison", "poison.toml", "--out", "out", "--jobs", "1"))


READERS: Final[dict[str, Reader]] = {
    reader.__name__: reader
    for reader in (benchmark, lists, records, manifests, bundles, ini, weights, zoos, images)
}

_PROFILE: Final = ("--profile", "poisoned")
_OF_A_STORE: Final = st.sampled_from(
    (
        ("verify",),
        ("verify", "benchmarks.toml", *_PROFILE),
        ("show", *_PROFILE),
        ("show", *_PROFILE, "--format", "json"),
        ("show", *_PROFILE, "--trace", "method=rotnet"),
        ("plan", *_PROFILE),
        ("export", *_PROFILE, "--out", "again.zip"),
        ("run", *_PROFILE, "--executor", "serial"),
    )
)
_IMAGES: Final = tuple(samples.images())


def _files(folder: Path, below: str) -> list[str]:
    return sorted(
        path.relative_to(folder).as_posix()
        for path in (folder / below).rglob("*")
        if path.is_file() and path.stat().st_size
    )


def _identity(content: bytes) -> dict[str, Any]:
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def _import(path: Path) -> None:
    from backbench.external.importing import import_encoder, inspect

    import_encoder(inspect(path)[0])


def _decode(path: Path) -> None:
    from backbench.data.decode import decode, read_size

    read_size(path)
    decode(path)
