"""Write the distribution of a new plugin."""

from __future__ import annotations

import keyword
import re
import tempfile
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from backbench.errors import UsageError
from backbench.plugin.announcements import KEBAB, RESERVED
from backbench.plugin.registry import Registry
from backbench.system.files import share

#: What can be made, and the kind of its info record; an observer has none.
TEMPLATES: Final[Mapping[str, str | None]] = {
    "attack": "attack",
    "method": "ssl-method",
    "defense": "defense",
    "evaluator": "evaluator",
    "dataset": "dataset",
    "metric": "metric",
    "observer": None,
}

_FOLDER: Final = Path(__file__).parent / "templates"
_MADE: Final = {"__pycache__", ".pytest_cache"}
#: In characters: lines of code with longer names would be too long.
_LONGEST: Final = 36


def new_plugin(template: str, name: str, out: Path, registry: Registry) -> Path:
    """Write the distribution of a new plugin into a new folder.

    Args:
        template: One of :data:`TEMPLATES`.
        name: Name of the plugin, of its distribution and of the folder, in kebab-case.
        out: The folder that gets the new one; it is made if it is not there.
        registry: The plugins that are installed.

    Returns:
        The new folder.

    Raises:
        UsageError: If the name cannot be used, or the folder exists; nothing is written then.
    """
    texts = read_template(template)
    folder = out / name
    problem = _form_problem(name) or _taken_problem(template, name, texts, registry)
    if problem:
        raise UsageError(f"{name!r} {problem}: choose another name")
    if folder.exists() or folder.is_symlink():
        raise UsageError(f"{folder} exists: choose another name, or another folder with --out")
    try:
        _write(renamed(texts, f"my-{template}", name), folder)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UsageError(f"{folder} cannot be written: {reason}") from error
    return folder


def read_template(template: str) -> dict[str, str]:
    """Return the files of a template, by their paths in the distribution."""
    root = _FOLDER / template
    files = [path for path in sorted(root.rglob("*")) if path.is_file()]
    return {
        path.relative_to(root).as_posix(): path.read_text(encoding="utf-8")
        for path in files
        if _MADE.isdisjoint(path.parts)
    }


def renamed(texts: Mapping[str, str], old: str, new: str) -> dict[str, str]:
    """Return files with the plugin's name, module and class in the place of the template's."""
    words = {old: new, module_of(old): module_of(new), class_of(old): class_of(new)}
    pattern = re.compile("|".join(words))

    def put(text: str) -> str:
        return pattern.sub(lambda found: words[found[0]], text)

    return {put(path): put(text) for path, text in texts.items()}


def module_of(name: str) -> str:
    """Return the name of a plugin's package: ``my_attack`` of ``my-attack``."""
    return name.replace("-", "_")


def class_of(name: str) -> str:
    """Return the name of a plugin's class: ``MyAttack`` of ``my-attack``."""
    return "".join(part.capitalize() for part in name.split("-"))


def _form_problem(name: str) -> str | None:
    if not KEBAB.fullmatch(name):
        return "is not in kebab-case, such as my-patch"
    if len(name) > _LONGEST:
        return f"has {len(name)} characters, and {_LONGEST} are the most"
    if not module_of(name).isidentifier():
        return "begins with a digit, which the name of a Python package cannot"
    if keyword.iskeyword(module_of(name)):
        return "is a word of Python's own"
    return None


def _taken_problem(
    template: str, name: str, texts: Mapping[str, str], registry: Registry
) -> str | None:
    """Return what else has the name: a plugin, a package, or something in the template's code."""
    kind = TEMPLATES[template]
    if kind is not None and name in RESERVED.get(kind, ()):
        return f"is reserved: no {template} can have it"
    if kind is not None and name in registry.names(kind):
        return f"is already the {registry.find(kind, name)}"
    if _is_installed(name):
        return "is already an installed package"
    words = set(re.findall(r"\w+", "\n".join(texts.values())))
    own = {class_of(f"my-{template}"), f"{class_of(f'my-{template}')}Options"}
    clashing = {class_of(name), f"{class_of(name)}Options"} & (words - own)
    if clashing:
        return f"would make a class {clashing.pop()}, which the code uses for something else"
    if module_of(name) in {path.partition("/")[0] for path in texts}:
        return "is a folder of every plugin"
    return None


def _is_installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return find_spec(module_of(name)) is not None
    return True


def _write(texts: Mapping[str, str], folder: Path) -> None:
    """Write files into a new folder, which is there as a whole or not at all."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as made:
        whole = Path(made) / folder.name
        for name, text in texts.items():
            path = whole / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        whole.rename(folder)
    share(folder)
