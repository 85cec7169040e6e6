"""Built-in methods as a distribution of somebody else: the public interface is enough for them."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import backbench_attacks
import backbench_defenses
from backbench.plugin.registry import Registry, load_registry
from backbench.system.arithmetic import standard_arithmetic
from backbench.testing import AttackContract, PluginContract, TrainingDefenseContract
from tests.contract.broken import run

#: The package, whose modules are copies; the records are written anew.
ANNOUNCING = """
from acme_methods.defense_options import CutMixOptions
from acme_methods.noisy_alignment_options import NoisyAlignmentOptions

from backbench.plugin import AttackInfo, DefenseInfo, hookimpl


@hookimpl
def register_attacks():
    yield AttackInfo(
        name="acme-alignment",
        summary="Noisy Alignment.",
        target="acme_methods.noisy_alignment:NoisyAlignment",
        options=NoisyAlignmentOptions,
    )


@hookimpl
def register_defenses():
    yield DefenseInfo(
        name="acme-cutmix",
        summary="i-CutMix.",
        target="acme_methods.cutmix:CutMix",
        options=CutMixOptions,
        acts_on="training",
    )
"""

_OWN = re.compile(r"backbench_(?:attacks|defenses)(?=[. ])")
_IMPORT = re.compile(r"^\s*from acme_methods\.(\w+) import", re.MULTILINE)

#: Tests for which a plugin must be installed where the kit looks, or which start a process; and
#: those that train, which the modules of builtin/ run over the same code.
_ELSEWHERE = re.compile(
    "entry_point|torch|loss_falls|finite_numbers|to_features|the_store|weights_depend|stopped"
    "|labels_are|validation_split|global_generators|is_another|between_cells"
)


def copied(package: Path, names: list[str]) -> None:
    """Write the modules of these names, and those that they import, as modules of ``package``."""
    sources = [Path(one.__path__[0]) for one in (backbench_attacks, backbench_defenses)]
    while names:
        name = names.pop()
        (source,) = (path for one in sources if (path := one / f"{name}.py").is_file())
        text = _OWN.sub("acme_methods", source.read_text(encoding="utf-8"))
        (package / f"{name}.py").write_text(text, encoding="utf-8")
        names += [one for one in _IMPORT.findall(text) if not (package / f"{one}.py").exists()]


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """Return what is found where the distribution is installed."""
    folder = tmp_path_factory.mktemp("external")
    package, info = folder / "acme_methods", folder / "acme_methods-1.0.dist-info"
    package.mkdir()
    info.mkdir()
    copied(package, ["noisy_alignment", "cutmix"])
    (package / "__init__.py").write_text(ANNOUNCING, encoding="utf-8")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-methods\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[backbench]\nacme = acme_methods\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield load_registry()
    for name in [name for name in sys.modules if name.partition(".")[0] == "acme_methods"]:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("kind", "name", "contract", "options"),
    [
        (
            "attack",
            "acme-alignment",
            AttackContract,
            {"target": "bee", "rate": {"of": "count", "value": 3}, "width": 6},
        ),
        ("defense", "acme-cutmix", TrainingDefenseContract, {}),
    ],
    ids=["attack", "defense"],
)
def test_a_built_in_method_passes_its_contract_outside(
    registry: Registry,
    tmp_path: Path,
    *,
    kind: str,
    name: str,
    contract: type[PluginContract],
    options: dict[str, object],
) -> None:
    assert registry.failures == []
    found = registry.find(kind, name)
    assert str(found.origin) == "acme-methods 1.0"
    assert found.implementation().__module__.startswith("acme_methods.")
    kit = type("Kit", (contract,), {"info": found.info, "options": options})()
    tests = [one for one in dir(contract) if one.startswith("test_") and not _ELSEWHERE.search(one)]
    assert len(tests) > 10
    with standard_arithmetic():
        for test in tests:
            run(kit, test, tmp_path)


def test_the_copies_import_what_every_author_may_import(registry: Registry) -> None:
    package = Path(sys.modules["acme_methods"].__path__[0])
    for path in package.glob("*.py"):
        text = path.read_text(encoding="utf-8")
        rooms = re.findall(r"^\s*(?:from|import) backbench[.](\w+)", text, re.MULTILINE)
        assert set(rooms) <= {"plugin", "nn", "views", "training"}, path.name
        assert not _OWN.search(text), path.name
