"""A zoo: built twice with equal hashes, checked, and taken into a matrix that trains nothing."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import backbench as bb
from backbench import Planned
from backbench.benchmark.config import notes_on
from backbench.errors import ConfigError, UsageError
from backbench.external.zoo import Kind, read_zoo
from backbench.model import StageKind
from backbench.verification.bundle import open_bundle
from backbench.verification.bundle_check import verify_bundle
from backbench.verification.exporting import export_bundle
from backbench.zoo.checking import verify_zoo
from tests.conftest import Bench

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"

WORLD = """
[benchmark]
name = "small-zoo"
seeds = [3]

[datasets.drawn]
plugin = "embedded"
classes = 3
size = 16
train_per_class = 16
val_per_class = 8

[attacks.patch]
target = "brick-house"
rate = { of = "target_class", value = 1.0 }
width = 5

[attacks.bad]
plugin = "badencoder"
target = "brick-house"
width = 5
epochs = 1
batch_size = 24
views = { scale = [0.5, 1.0] }

[methods.simsiam]
preset = "small"
epochs = 1
batch_size = 24
schedule = { warmup_epochs = 0 }

[evaluators.linear]
preset = "small"
"""

MADE = f"""{WORLD}
[[matrix]]
datasets = "drawn"
attacks = ["patch", "bad"]
methods = "simsiam"
evaluators = "linear"
"""

USED = f"""{WORLD.replace("small-zoo", "on-a-zoo").replace("[3]", "[0, 1]")}
[encoders]
zoo = "zoo"

[defenses.decree]
preset = "small"
epochs = 1
clean_fraction = 0.5

[defenses.dede]
preset = "small"
epochs = 1
clean_fraction = 0.5
warmup = 0

[[matrix]]
datasets = "drawn"
attacks = ["none", "patch", "bad"]
methods = "zoo"
defenses = ["none", "decree", "dede"]
evaluators = "linear"
"""

CLEAN, POISONED, IMPLANTED = (f"simsiam-{made}-seed3" for made in ("clean", "patch", "bad"))


def planned(path: Path, text: str, store: Path) -> Planned:
    path.write_text(text, encoding="utf-8")
    return bb.load(path, store=store).plan(store=store)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with two stores, each trained by itself, and the zoo of each."""
    root = tmp_path_factory.mktemp("zoo")
    for number in (1, 2):
        plan = planned(root / "made.toml", MADE, root / f"store-{number}")
        assert plan.run(executor="serial").exit_code == 0
        plan.write_zoo(root / f"zoo-{number}")
    return root


@pytest.fixture
def zoo(world: Path, tmp_path: Path) -> Path:
    """Return a copy of the zoo, for a test to change."""
    return shutil.copytree(world / "zoo-1", tmp_path / "zoo")


@pytest.fixture(scope="module")
def used(world: Path) -> Planned:
    """Return a matrix of detectors and a verdict over the zoo, which has run."""
    shutil.copytree(world / "zoo-1", world / "zoo")
    plan = planned(world / "used.toml", USED, world / "store")
    assert plan.run(executor="serial").exit_code == 0
    return plan


def test_trained_and_built_twice_a_zoo_has_equal_hashes(world: Path) -> None:
    one, other = ((world / f"zoo-{number}" / "zoo.json").read_bytes() for number in (1, 2))
    assert one == other
    assert verify_zoo(world / "zoo-2").differs == []


def test_cards_say_what_was_done_and_what_came_out(world: Path) -> None:
    cards = read_zoo(world / "zoo-1").cards
    assert [card.kind for card in cards.values()] == [Kind.IMPLANTED, Kind.CLEAN, Kind.POISONED]
    assert {card.control for card in cards.values()} == {None, CLEAN}
    assert {card.seed for card in cards.values()} == {3}
    board = bb.open_results(world / "store-1", world / "made.toml")
    for name, attack in ((POISONED, "patch"), (IMPLANTED, "bad")):
        metric = board.metric("asr", attack=attack)
        assert metric.control is not None
        (numbers,) = cards[name].numbers
        assert (numbers.metrics["asr"], numbers.control["asr"]) == (
            metric.mean,
            metric.control.mean,
        )
        assert "brick-house" in cards[name].summary or attack == "bad"
        assert "backdoored" in cards[name].weights
    assert {one.trigger for one in cards[CLEAN].numbers} == {"patch", "bad"}
    kinds = [step.kind for step in cards[IMPLANTED].recipe]
    assert kinds == [StageKind.DATASET, StageKind.PRETRAIN, StageKind.IMPLANT]
    page = (world / "zoo-1" / POISONED / "CARD.md").read_text(encoding="utf-8")
    assert "has a backdoor on purpose" in page
    assert CLEAN in page


@pytest.mark.parametrize("word", ["/tmp", "Time", "finished", "wall_s"])
def test_a_zoo_knows_neither_machine_nor_time(world: Path, word: str) -> None:
    for path in (world / "zoo-1").rglob("*"):
        if path.suffix in {".json", ".md"}:
            assert word not in path.read_text(encoding="utf-8")


def change(text: str, old: str, new: str) -> str:
    assert old in text
    return text.replace(old, new, 1)


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "wanted"),
    [
        (lambda zoo: flipped(zoo / CLEAN / "encoder.safetensors"), "another SHA-256"),
        (lambda zoo: (zoo / CLEAN / "encoder.json").unlink(), "is missing"),
        (lambda zoo: (zoo / "more.txt").write_text("more"), "more.txt: zoo.json has no such file"),
        (lambda zoo: (zoo / CLEAN / "card.json").write_text("{}"), "is not the card whose hash"),
        (lambda zoo: (zoo / "README.md").write_text(""), "README.md: has 0 bytes"),
    ],
)
def test_each_change_of_a_zoo_is_found(
    zoo: Path, damage: Callable[[Path], object], wanted: str
) -> None:
    damage(zoo)
    assert wanted in "\n".join(map(str, verify_zoo(zoo).differs))


def forge(zoo: Path, name: str, old: str, new: str) -> None:
    """Change a card, and the manifest with it."""
    card, manifest = zoo / name / "card.json", zoo / "zoo.json"
    card.write_text(change(card.read_text(), old, new))
    said = json.loads(manifest.read_text())
    content = card.read_bytes()
    said["files"][f"{name}/card.json"] = {
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    manifest.write_text(json.dumps(said))


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        (f'"control": "{CLEAN}"', f'"control": "{IMPLANTED}"', "is implanted, not clean"),
        (f'"control": "{CLEAN}"', '"control": "gone"', "'gone' is not in the zoo"),
        ('"kind": "poisoned"', '"kind": "clean"', "it is clean, and its attack is 'patch'"),
        ('"backdoored": "it', '"backdoored": "It', "its file is marked"),
        ('"format": 1', '"format": 2', "of format 2"),
        (f'"name": "{POISONED}"', '"name": "../x"', "no name"),
    ],
)
def test_cards_that_lie_are_found(zoo: Path, old: str, new: str, wanted: str) -> None:
    forge(zoo, POISONED, old, new)
    assert wanted in "\n".join(map(str, verify_zoo(zoo).differs))


def test_paths_out_of_a_zoo_are_refused(zoo: Path) -> None:
    manifest = zoo / "zoo.json"
    manifest.write_text(change(manifest.read_text(), '"README.md"', '"../README.md"'))
    with pytest.raises(UsageError, match="no path of a file of a zoo"):
        read_zoo(zoo)


def test_a_zoo_is_built_of_what_has_run_and_replaces_nothing(world: Path, tmp_path: Path) -> None:
    empty = planned(tmp_path / "made.toml", MADE, tmp_path / "store")
    with pytest.raises(UsageError, match="have not been run"):
        empty.write_zoo(tmp_path / "zoo")
    with pytest.raises(UsageError, match="is there already"):
        empty.write_zoo(world / "zoo-1")
    assert not (tmp_path / "zoo").exists()
    assert not list(tmp_path.glob(".zoo*"))


def test_a_matrix_over_a_zoo_trains_nothing_and_gives_the_numbers_of_the_cards(
    used: Planned,
) -> None:
    kinds = {stage.kind for stage in used.stages}
    assert not kinds & {StageKind.PRETRAIN, StageKind.IMPLANT, StageKind.FIT_TRIGGER}
    assert {StageKind.INSPECT, StageKind.DETECT} < kinds
    results = used.results()
    cards = read_zoo(Path(used.experiment.benchmark.source).parent / "zoo").cards
    names = {(row.names["method"], row.names["attack"]) for row in results}
    assert names == {(CLEAN, "none"), (POISONED, "patch"), (IMPLANTED, "bad")}
    assert {row.seeds for row in results} == {(3,)}
    for name in (POISONED, IMPLANTED):
        metric = results.metric("asr", method=name, defense="none")
        assert metric.control is not None
        (numbers,) = cards[name].numbers
        assert metric.mean == numbers.metrics["asr"]
        assert metric.control.mean == numbers.control["asr"]
    detected = [row for row in results if row.names["defense"] == "dede" and row.controls]
    assert all("detector/auroc" in row.values for row in detected)


def test_verdicts_know_by_the_cards_which_encoders_are_backdoored(used: Planned) -> None:
    lines = {line.names["attack"]: line for line in used.sheet("verdicts").lines}
    assert lines["all"].names["method"] == "simsiam"
    assert lines["all"].values["verdict/attacked"].mean == 2
    assert lines["all"].values["verdict/clean"].mean == 1
    assert set(lines) == {"all", "patch", "bad"}
    assert [line.names["method"] for line in used.sheet("each-verdict").lines] == ["simsiam"] * 3


def test_a_matrix_without_attacks_has_every_encoder_once(world: Path, used: Planned) -> None:
    text = change(USED, '"none", "patch", "bad"', '"none"')
    plan = planned(world / "plain.toml", text, world / "store")
    assert {cell.name.method for cell in plan.cells} == {CLEAN, POISONED, IMPLANTED}
    assert {line.names["attack"] for line in plan.sheet("verdicts").lines} == {
        "all",
        "patch",
        "bad",
    }
    (note,) = notes_on(plan.experiment.benchmark)
    assert note == (
        "encoders.zoo: 3 encoders of benchmark 'small-zoo': 1 clean, 1 poisoned, 1 implanted; 3 of "
        "them are in the matrix"
    )
    assert used.cells


def test_a_bundle_of_a_matrix_over_a_zoo_keeps_the_labels(used: Planned, tmp_path: Path) -> None:
    source = Path(used.experiment.benchmark.source)
    out = tmp_path / "bundle.zip"
    export_bundle(used.plan, used.store, source, out)
    with open_bundle(out) as bundle:
        assert verify_bundle(bundle).differs == []
        assert bundle.plan.origins == used.plan.origins


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (change(USED, 'zoo = "zoo"', 'zoo = "gone"'), "encoders.zoo: .*gone: not a zoo"),
        (
            change(USED, "width = 5\nepochs", "width = 4\nepochs"),
            "attacks.bad: encoder .* which differs in width: take its table",
        ),
        (
            change(USED, 'zoo = "zoo"', f'zoo = "zoo"\n{CLEAN} = {{ weights = "x" }}'),
            f"encoders.{CLEAN}: is the name of an encoder of the zoo",
        ),
        (change(USED, "[methods.simsiam]", '[methods.zoo]\nplugin = "simsiam"'), "encoders.zoo:"),
    ],
)
def test_a_wrong_use_is_one_problem(
    world: Path, used: Planned, tmp_path: Path, text: str, wanted: str
) -> None:
    assert used.cells
    shutil.copytree(world / "zoo-1", tmp_path / "zoo")
    with pytest.raises(ConfigError, match=wanted) as caught:
        planned(tmp_path / "used.toml", text, tmp_path / "store")
    assert len(caught.value.problems) == 1


def test_the_commands_build_and_verify(world: Path, zoo: Path, bench: Bench) -> None:
    made, store = str(world / "made.toml"), str(world / "store-1")
    built = bench("zoo", "build", made, "--store", store, "--out", "again").assert_ok()
    digest = hashlib.sha256((zoo / "zoo.json").read_bytes()).hexdigest()
    assert built.out.endswith(f"SHA-256 {digest}\n")
    assert "3 encoders checked, no difference" in bench("zoo", "verify", "again").assert_ok().out
    (zoo / "more").touch()
    found = bench("zoo", "verify", str(zoo))
    assert (found.code, found.err) == (1, "")
    assert found.out.startswith("differs: more: zoo.json has no such file\n")
    assert bench("zoo", "verify", str(world)).code == 2
    assert bench("zoo", "build", made, "--store", "empty", "--out", "none").code == 2
    assert not Path("none").exists()


def test_the_zoos_of_the_repository_are_as_large_as_they_say(tmp_path: Path) -> None:
    for name, counts in (("zoo", (12, 12, 12)), ("zoo-round", (25, 25, 50))):
        plan = bb.load(BENCHMARKS / f"{name}.toml").plan(store=tmp_path / "store").plan
        stages = list(plan.stages.values())
        pretrained = [one for one in stages if one.kind is StageKind.PRETRAIN]
        poisoned = sum("poison" in one.inputs for one in pretrained)
        implanted = sum(one.kind is StageKind.IMPLANT for one in stages)
        assert (len(pretrained) - poisoned, poisoned, implanted) == counts


def test_changed_weights_are_refused(zoo: Path) -> None:
    flipped(zoo / CLEAN / "encoder.safetensors")
    with pytest.raises(ConfigError, match=r"the weights of .* are not those of its card"):
        planned(zoo.parent / "used.toml", USED, zoo.parent / "store")
