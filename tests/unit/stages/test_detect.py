"""What a detector is shown, what it may give back, and what is stored of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.numpy import load_file, save_file
from tests.conftest import tiny

from backbench import open_results
from backbench.cli.root import cli
from backbench.errors import ResultError
from backbench.images import ImageSet
from backbench.model import StageKind
from backbench.plugin import Defense, DefenseContext, DefenseInfo
from backbench.stages.detect import REJECTS_CLEAN, flags_of, shuffled
from backbench.store.metadata import DetectRecord
from backbench.store.records import Record
from backbench.store.store import Store
from backbench.testing import InputDefenseContract
from backbench.testing.hygiene import run_twice
from backbench.verification.artifact_contents import detector_differences
from backbench.verification.evidence import StoreEvidence


class Given(Defense):
    """Gives back what the test wants, and keeps what it was shown."""

    result: Any
    learned: Any
    shown: ImageSet
    context: DefenseContext

    def fit(self, encoder: Any, context: DefenseContext) -> None:
        context.clean(0.5)

    def state(self) -> Any:
        return type(self).learned

    def restore(self, state: Any) -> None:
        raise AssertionError(state)

    def score(self, encoder: Any, images: ImageSet, context: DefenseContext) -> Any:
        type(self).shown, type(self).context = images, context
        return type(self).result(encoder, images)


class Kit(InputDefenseContract):
    __test__ = False
    info = DefenseInfo(name="given", summary="G.", target="a:A", acts_on="input")

    def settings(self) -> None:
        return None

    def implementation(self) -> type[Defense]:
        return Given


def scored(folder: Path, result: Any) -> Path:
    Given.result = staticmethod(result)
    kit = Kit()
    return run_twice(folder, kit, StageKind.DETECT, encoder=kit.encoder())[0]


def test_a_detector_sees_validation_images_without_labels_in_random_order(tmp_path: Path) -> None:
    folder = scored(tmp_path, lambda _, images: np.arange(len(images)) - 2.5)
    assert set(Given.shown.labels.tolist()) == {-1}
    assert Given.shown.sources[:2] == ("00000000", "00000001")
    stored = load_file(folder / "scores.safetensors")
    assert not stored["triggered"].any()
    assert sorted(stored["index"]) == list(range(12))
    assert stored["index"].tolist() != sorted(stored["index"])
    np.testing.assert_array_equal(stored["scores"], np.arange(12) - 2.5)


def test_each_image_is_there_once_clean_and_once_triggered_in_a_known_order() -> None:
    index, triggered = shuffled(50, 7, triggered=True)
    assert sorted(index[triggered]) == sorted(index[~triggered]) == list(range(50))
    again = shuffled(50, 7, triggered=True)
    np.testing.assert_array_equal(index, again[0])
    np.testing.assert_array_equal(triggered, again[1])
    assert 10 < triggered[:50].sum() < 40  # not one after the other
    assert (shuffled(50, 8, triggered=True)[0] != index).any()


@pytest.mark.parametrize(("above", "flags"), [(5, ()), (6, (REJECTS_CLEAN,))])
def test_a_detector_that_rejects_most_clean_images_is_flagged(above: int, flags: Any) -> None:
    triggered = np.repeat([False, True], 10)
    scores = np.concatenate([np.arange(10) - 10 + above + 0.5, np.ones(10)])
    assert flags_of(scores, triggered) == flags


@pytest.mark.parametrize(
    ("result", "sentence"),
    [
        (lambda _, images: np.zeros(3), r"scores of shape \(3,\) for 12 images"),
        (lambda _, images: np.full(12, np.nan), "not finite for 12 of 12 images"),
        (lambda _, images: ["a"] * 12, "it must be real numbers"),
        (lambda encoder, images: encoder.train() and np.zeros(12), "the detector changed the mode"),
    ],
)
def test_what_is_no_score_for_each_image_is_refused(
    tmp_path: Path, result: Any, sentence: str
) -> None:
    with pytest.raises(ResultError, match=sentence):
        scored(tmp_path, result)


@pytest.mark.parametrize(
    ("learned", "sentence"),
    [
        ({}, "an empty state"),
        ({"w": np.array([np.inf])}, "not finite: w"),
        (None, "gave as state a NoneType"),
    ],
)
def test_what_is_no_state_is_refused(tmp_path: Path, learned: Any, sentence: str) -> None:
    Given.learned = learned
    kit = Kit()
    with pytest.raises(ResultError, match=sentence):
        run_twice(tmp_path, kit, StageKind.FIT_DETECTOR, encoder=kit.encoder())


# -- in a run ----------------------------------------------------------------------------------

RUN = (
    tiny()
    .replace('methods = ["moco-v2", "rotnet"]', 'methods = ["rotnet"]')
    .replace('defenses = ["none", "distill"]', 'defenses = ["none", "ids", "dede"]')
    .replace('evaluators = ["linear", "knn"]', 'evaluators = ["knn"]')
    + """
[defenses.ids]
plugin = "backdoor-ids"
preset = "small"
orders = 1
steps = 5

[defenses.dede]
preset = "small"
epochs = 1
width = 16
depth = 1
draws = 1
"""
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("detectors")
    (folder / "b.toml").write_text(RUN, encoding="utf-8")
    command = ["run", str(folder / "b.toml"), "--store", str(folder / "s"), "--executor", "serial"]
    done = CliRunner().invoke(cli, command, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return folder


@pytest.fixture
def copied(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path


def command(folder: Path, *words: str) -> str:
    done = CliRunner().invoke(cli, [words[0], str(folder / "b.toml"), *words[1:]])
    return f"{done.exit_code}\n{done.output}"


def detections(folder: Path) -> list[Record]:
    store = Store(folder / "s")
    records = [record for key in store.done() if (record := store.record(key))]
    return [one for one in records if one.stage.kind is StageKind.DETECT]


def test_a_run_scores_each_image_clean_and_triggered(made: Path) -> None:
    records = detections(made)
    assert len(records) == 6  # 2 detectors × {clean, poisoned, control}
    for record in records:
        seen = record.of(DetectRecord)
        assert seen.clean == 32
        assert seen.triggered == (32 if "poison" in record.stage.inputs else 0)
        assert seen.clean_fraction == 0
    text = command(made, "show", "--store", str(made / "s"), "--detectors", "--format=json")
    rows = json.loads(text.partition("\n")[2])["rows"]
    assert {row["defense"] for row in rows} == {"ids", "dede"}
    for row in rows:
        attacked = row["attack"] != "none"
        assert ("detector/auroc" in row["metrics"]) == attacked
        assert ("detector/auroc" in row["controls"]) == attacked
        assert row["complete"]


def test_verify_finds_nothing_and_names_a_moved_score(copied: Path) -> None:
    where = ("--store", str(copied / "s"))
    assert command(copied, "verify", *where).startswith("0\n")
    record = next(one for one in detections(copied) if "poison" in one.stage.inputs)
    path = copied / "s" / "artifacts" / record.key / "scores.safetensors"
    stored = load_file(path)
    stored["index"] = np.roll(stored["index"], 1)
    save_file(stored, path)
    said = command(copied, "verify", *where)
    assert "1 differs" in said
    assert record.label in said
    evidence = StoreEvidence(Store(copied / "s"))
    (found,) = detector_differences(record, evidence)
    assert "not a score for each of 32 validation images, clean and triggered" in found


def test_a_bundle_brings_the_scores(copied: Path) -> None:
    where = ("--store", str(copied / "s"))
    bundle = copied / "b.zip"
    assert command(copied, "export", *where, "--out", str(bundle)).startswith("0\n")
    done = CliRunner().invoke(cli, ["verify", str(bundle)])
    assert done.exit_code == 0, done.output
    theirs, ours = open_results(bundle), open_results(copied / "s", copied / "b.toml")
    asked = {"attack": "targeted", "defense": "ids"}
    one, other = (found.metric("detector/auroc", **asked) for found in (theirs, ours))
    assert one == other
    assert one.control is not None


def test_a_trace_shows_the_detectors_stages(made: Path) -> None:
    row = "attack=targeted,defense=dede"
    said = command(made, "show", "--store", str(made / "s"), "--trace", row)
    assert "fit-detector dede · rotnet · targeted" in said
    assert "gave detector/auprc = " in said
    assert "scores.safetensors" in said


def test_scores_that_are_gone_are_missing_and_stated(copied: Path) -> None:
    record = next(
        one for one in detections(copied) if one.stage.plugin and one.stage.plugin.name == "dede"
    )
    (copied / "s" / "artifacts" / record.key / "scores.safetensors").unlink()
    said = command(copied, "show", "--store", str(copied / "s"), "--detectors")
    assert said.startswith("0\n")
    assert "°" in said
