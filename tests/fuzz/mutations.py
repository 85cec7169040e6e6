"""Valid samples made wrong: bytes, lines, trees of values, archives."""

from __future__ import annotations

import io
import json
import tomllib
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from copy import deepcopy
from typing import Any, Final

from hypothesis import strategies as st

Draw = st.DrawFn
Path_ = tuple[str | int, ...]

#: Texts that have broken readers.
TEXTS: Final = (
    "", " ", ".", "..", "../../outside", "/outside", "~nobody/x", "C:\\x", "a/b", "a\0b", "\x1b]0;x\x07",
    "\u202e", "\ud800", "=1+1", "<b>", "a|b", "$(x)", "%(x)s", "%", "{}", "{0.x}", "nan", "-1", "1e999",
    "é", "x" * 300, "9" * 5001, "[" * 2000, "train.txt", "/dev/zero", "\n", "\ufeff", "\r", '"', "'", "#",
)  # fmt: skip

#: Other values, and what a number may be.
VALUES: Final = (
    None, True, False, 0, -1, 1, 2, 255, 2**31, 2**63, 10**30, 0.5, -0.5, 1e308, 1e-320,
    float("inf"), float("-inf"), float("nan"), [], {}, [[]], [0], [None], [""], {"": 0}, [[0, 0, 0, 0]],
    [1] * 1000,
)  # fmt: skip

BYTES: Final = (
    b"\0", b"\xff", b"\x7f", b"\xff" * 8, b"\0" * 64, b"\x80\x02}", b"PK\x03\x04", b"{", b"}", b"[", b"]",
    b'"', b"\n", b"\r\n", b",", b":", b"=", b"#", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"NaN", b"1e999", b"-",
    b"..", b"/", b"null", b"[" * 3000, b"(" * 3000, b"-" * 9000, b"9" * 5001, b"%!PS-Adobe-3.0 EPSF-3.0\n",
)  # fmt: skip

values = st.one_of(
    st.sampled_from(VALUES),
    st.sampled_from(TEXTS),
    st.integers(-100, 100),
    st.floats(),
    st.text(max_size=8),
    st.just([[[[[[[[[[]]]]]]]]]]),
)


def bytes_(draw: Draw, data: bytes) -> bytes:
    """Change some bytes."""
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        if draw(st.booleans()):  # near the beginning are the headers
            at = min(at, draw(st.integers(0, 64)))
        end = min(len(data), at + draw(st.sampled_from((1, 1, 2, 4, 8, 64, 1 << 20))))
        old = data[at:end]
        bit = 1 << draw(st.integers(0, 7))
        fixed = st.sampled_from((*BYTES, b"", old * 2, bytes(one ^ bit for one in old)))
        data = data[:at] + draw(fixed | st.binary(min_size=1, max_size=4)) + data[end:]
    return data


def text(draw: Draw, data: bytes) -> bytes:
    """Change some lines, or put something into them."""
    lines = data.split(b"\n")
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(lines) - 1))
        other = draw(st.integers(0, len(lines) - 1))
        line = lines[at]
        column = draw(st.integers(0, len(line)))
        token = draw(st.sampled_from(TEXTS)).encode("utf-8", "surrogatepass")
        start = max(line.rfind(b"=", 0, column), line.rfind(b" ", 0, column)) + 1
        change = draw(st.sampled_from(("drop", "twice", "swap", "indent", "put", "value", "many")))
        if change == "drop":
            del lines[at]
        elif change == "twice":
            lines.insert(other, line)
        elif change == "swap":
            lines[at], lines[other] = lines[other], line
        elif change == "many":
            lines[at:at] = [line] * 500
        else:
            lines[at] = {
                "indent": b"  " + line,
                "put": line[:column] + token + line[column:],
                "value": line[:start] + token,
            }[change]
        lines = lines or [b""]
    return b"\n".join(lines)


def tree(draw: Draw, root: Any) -> Any:
    """Change some values of a tree of dicts and lists: replaced, renamed, left out, doubled."""
    root = [root]
    for _ in range(draw(st.integers(1, 2))):
        *above, last = draw(st.sampled_from(list(_paths(root[0], (0,)))))
        parent = root
        for step in above:
            parent = parent[step]
        change = draw(st.sampled_from(("value", "value", "value", "drop", "name", "twice")))
        if change == "value" or not above:
            parent[last] = deepcopy(draw(values))  # it may be changed next
        elif change == "drop":
            del parent[last]
        elif isinstance(parent, dict):
            name = draw(st.sampled_from(TEXTS)) if change == "name" else f"{last}2"
            parent[name] = parent.pop(last) if change == "name" else parent[last]
        else:
            parent.append(parent[last])
    return root[0]


def _paths(tree_: Any, path: Path_) -> Iterator[Path_]:
    yield path
    found: Any = ()
    if isinstance(tree_, dict):
        found = tree_.items()
    elif isinstance(tree_, list):
        found = enumerate(tree_)
    for key, value in found:
        yield from _paths(value, (*path, key))


def json_(draw: Draw, data: bytes) -> bytes:
    """Change values of a JSON document."""
    return json.dumps(tree(draw, json.loads(data))).encode()


def json_lines(draw: Draw, data: bytes) -> bytes:
    """Change values of one line of JSON."""
    lines = data.splitlines()
    at = draw(st.integers(0, len(lines) - 1))
    lines[at] = json_(draw, lines[at])
    return b"\n".join(lines) + b"\n"


def toml(draw: Draw, data: bytes) -> bytes:
    """Change values of a TOML document."""
    changed = tree(draw, tomllib.loads(data.decode()))
    if not isinstance(changed, dict):
        return _value(changed)
    parts = []
    for key, value in changed.items():
        many = value if isinstance(value, list) and value and isinstance(value[0], dict) else None
        if many is not None or isinstance(value, dict):
            for one in many or [value]:
                head = b"[[%s]]" if many else b"[%s]"
                inner = one.items() if isinstance(one, dict) else ()
                parts += [head % _value(key), *(_value(k) + b" = " + _value(v) for k, v in inner)]
        else:
            parts.insert(0, _value(key) + b" = " + _value(value))
    return b"\n".join(parts)


def _value(value: Any) -> bytes:
    if isinstance(value, dict):
        inner = (_value(k) + b" = " + _value(v) for k, v in value.items())
        return b"{ " + b", ".join(inner) + b" }"
    if isinstance(value, list):
        return b"[" + b", ".join(map(_value, value)) + b"]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
    if isinstance(value, float):
        return repr(value).encode()
    return json.dumps(value).encode()


#: How documents of a kind are changed, by the ending of their names.
BY_ENDING: Final = {
    ".json": (bytes_, text, json_, json_, json_),
    ".jsonl": (bytes_, text, json_lines, json_lines),
    ".toml": (bytes_, text, toml, toml),
}


def document(draw: Draw, name: str, data: bytes) -> bytes:
    """Change a document in a way that fits its name."""
    ending = name[name.rfind(".") :]
    if ending == ".npz":
        return archive(draw, data)
    return draw(st.sampled_from(BY_ENDING.get(ending, (bytes_, text))))(draw, data)


def members(data: bytes) -> dict[str, bytes]:
    """Return the members of a ZIP file."""
    with zipfile.ZipFile(io.BytesIO(data)) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def archive(draw: Draw, data: bytes) -> bytes:
    """Change members of a ZIP file, their names, or its bytes."""
    if draw(st.booleans()):
        return bytes_(draw, data)
    held = members(data)
    name = draw(st.sampled_from(sorted(held)))
    change = draw(st.sampled_from(("content", "content", "drop", "name")))
    if change == "content":
        held[name] = bytes_(draw, held[name])
    else:
        content = held.pop(name)
        if change == "name":
            held[draw(st.sampled_from(TEXTS[1:])).encode("utf-8", "replace").decode()] = content
    return packed(held.items())


def packed(files: Sequence[tuple[str, bytes]] | Any) -> bytes:
    """Return a ZIP file."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as opened, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # names that are there already
        for name, content in files:
            opened.writestr(zipfile.ZipInfo(name), content)
    return made.getvalue()
