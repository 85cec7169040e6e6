"""The pages as one source folder for Sphinx.

The folder has the layout of the repository, so that every link between its files works on the site
as it does in a checkout.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from docs.site.reference import pages

ROOT: Final = Path(__file__).parents[2]

#: Pages outside of ``docs/``.
_PROJECT: Final = ("CHANGELOG", "CONTRIBUTING", "CODE_OF_CONDUCT", "SECURITY", "benchmarks/README")

_LINK: Final = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")

#: The section of ``docs/README.md`` that the generated pages join.
_REFERENCE: Final = "Reference"


def build(out: str | Path) -> int:
    """Build the site into a folder, and return Sphinx's exit code: not 0 if it warns."""
    from sphinx.cmd.build import main

    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch, "source")
        write_sources(source)
        conf = str(Path(__file__).parent)
        strict = ["--fail-on-warning", "--keep-going", "--fresh-env", "--quiet"]
        return main([*strict, "-c", conf, "-d", f"{scratch}/trees", str(source), str(out)])


def write_sources(folder: Path) -> None:
    """Write the pages, the generated ones among them, and what they link to."""
    shutil.copytree(ROOT / "docs", folder / "docs", ignore=shutil.ignore_patterns("site"))
    for name in _PROJECT:
        _copy(Path(f"{name}.md"), folder)
    for page in [Path("index.md"), *(one.relative_to(folder) for one in folder.rglob("*.md"))]:
        text = (ROOT / _origin(page)).read_text(encoding="utf-8")
        for target in _LINK.findall(text):
            _copy(Path(os.path.normpath(page.parent / target)), folder)
    generated = pages()
    for name, text in generated.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(text, encoding="utf-8")
    front = (ROOT / "README.md").read_text(encoding="utf-8")
    (folder / "index.md").write_text(f"{front}\n{contents(generated)}", encoding="utf-8")


def _origin(page: Path) -> Path:
    return Path("README.md") if page == Path("index.md") else page


def _copy(name: Path, folder: Path) -> None:
    """Copy a file of the repository, if it is not there yet."""
    if not (folder / name).exists():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)


def sections() -> dict[str, list[str]]:
    """Return the pages that ``docs/README.md`` names, by section, in its order."""
    text = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    found = re.split(r"^- \*\*(.+?)\*\*:", text, flags=re.MULTILINE)[1:]
    return {
        title: [f"docs/{page}" for page in re.findall(r"\]\(([^)]+)\.md\)", body)]
        for title, body in zip(found[::2], found[1::2], strict=True)
    }


def contents(generated: Mapping[str, str]) -> str:
    """Return the tables of contents of the front page, which are the site's navigation."""
    found = sections()
    found["Decisions"] += sorted(
        f"docs/adr/{path.stem}" for path in (ROOT / "docs" / "adr").glob("0*.md")
    )
    found[_REFERENCE] += [name.rpartition(".")[0] for name in generated]
    found["Project"] = ["docs/README", *_PROJECT]
    return "\n".join(line for title, names in found.items() for line in _toctree(title, names))


def _toctree(title: str, names: Sequence[str]) -> Iterator[str]:
    yield "```{toctree}\n:hidden:\n:caption: " + title + "\n"
    yield from names
    yield "```"
