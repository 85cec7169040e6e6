"""``backbench reproduce`` from an empty folder: plan, write, run."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from backbench.benchmark.reproductions.published import Reproduction, find_reproduction
from backbench.estimate.cost import Training
from backbench.estimate.timing import Timing
from tests.conftest import Bench, tiny
from tests.factories import run_all_light


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the tiny benchmark in the place of the embedded matrix, and make trials short."""
    text = tiny().replace("seeds = [0]", "seeds = $seeds")
    text = text.replace("width = 10", "width = 10\ntrigger = $trigger_13")

    def find(name: str, scale: str) -> Reproduction:
        if scale == "embedded":
            return Reproduction(name, scale, text)
        return find_reproduction(name, scale)

    monkeypatch.setattr("backbench.benchmark.reproductions.published.find_reproduction", find)
    monkeypatch.setattr("backbench.estimate.timing.TRIAL_S", 0.0)


def test_torch_is_not_imported(tmp_path: Path) -> None:
    commands = [
        ["reproduce", "--help"],
        ["reproduce", "saha2022", "--write", "full.toml"],
        ["reproduce", "saha2022", "--scale", "embedded", "--write", "small.toml"],
    ]
    assert all(run_all_light(commands, cwd=tmp_path))


@pytest.mark.parametrize("scale", ["cifar10", "embedded"])
def test_what_is_written_is_without_problem(bench: Bench, scale: str) -> None:
    written = bench(
        "reproduce", "saha2022", "--scale", scale, "--write", "b.toml", "--seeds", "0,1"
    )
    assert "backbench run b.toml" in written.assert_ok().out
    assert "no problem" in bench("check", "b.toml").assert_ok().out
    assert "image-steps" in bench("plan", "b.toml").assert_ok().out
    again = bench("reproduce", "saha2022", "--write", "b.toml")
    assert again.code == 2
    assert "the file is there already" in again.err
    assert [path.name for path in Path.cwd().iterdir()] == ["b.toml"]


def test_the_full_matrix_asks_for_its_images(bench: Bench) -> None:
    outcome = bench("reproduce", "saha2022")
    assert outcome.code == 2
    assert "give --data DIR" in outcome.err
    assert list(Path.cwd().iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["saha2021"], "did you mean 'saha2022'?"),
        (["saha2022", "--data", "nowhere"], "there is no such folder"),
        (["saha2022", "--seeds", "0;1"], "write whole numbers with commas between"),
        (["saha2022", "--seeds", "9" * 5000], "write whole numbers with commas between"),
        (["saha2022", "--plan", "--format", "csv"], "a plan is printed as a table or as json"),
        (["saha2022", "--plan", "--profile", "quick"], "no profile is called 'quick'"),
    ],
)
def test_one_sentence(bench: Bench, arguments: list[str], sentence: str) -> None:
    outcome = bench("reproduce", *arguments)
    assert outcome.code == 2
    assert sentence in outcome.err
    assert "Traceback" not in outcome.err
    assert list(Path.cwd().iterdir()) == []


def test_the_full_matrix_is_planned_without_its_images(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cannot(trainings: list[Training], *_: object) -> list[Timing]:
        return [Timing(None, "could not be measured: not here") for _ in trainings]

    monkeypatch.setattr("backbench.estimate.hours.measure", cannot)
    plan = ("reproduce", "saha2022", "--plan", "--profile", "replicated")
    text = bench(*plan).assert_ok().out
    assert "ImageNet-100 not given: counted with 126,689 + 5,000 images" in text
    assert "triggers not given: built-in triggers of the same numbers" in text
    assert "could not be measured: not here" in text
    found = json.loads(bench(*plan, "--format", "json").assert_ok().out)
    # four methods, each with and without poison; whole batches of 256 and 512 images
    moco, other = (126_689 // size * size * 200 * 2 for size in (256, 512))
    steps = {"moco-v2": moco * 2, "byol": other * 4, "simclr": other * 2, "simsiam": other * 2}
    assert found["costs"]["image_steps"] == steps
    assert len(found["cells"]) == 4 * 3
    assert list(Path.cwd().iterdir()) == []


@pytest.mark.slow
@pytest.mark.usefixtures("small")
def test_plan_run_and_plan_again(bench: Bench) -> None:
    command = ("reproduce", "saha2022", "--scale", "embedded", "--device", "cpu")
    plan = (*command, "--plan", "--jobs", "1", "--format", "json")
    planned = json.loads(bench(*plan).assert_ok().out)
    assert list(Path.cwd().iterdir()) == []
    trained = {work["name"]: work for work in planned["hours"]["works"] if work["images"]}
    assert trained.keys() == {"moco-v2", "rotnet", "distill"}
    assert trained["rotnet"]["images"] == 384
    assert all(work["how"].endswith(" on cpu") for work in trained.values())
    assert "features" in planned["hours"]["left_out"]

    ran = bench(*command, "--executor", "serial", "--format", "json").assert_ok()
    assert {row["method"] for row in json.loads(ran.out)["rows"]} == {"moco-v2", "rotnet"}
    sizes: Counter[str] = Counter()
    for path in Path("store", "records").iterdir():
        record = json.loads(path.read_text(encoding="utf-8"))
        written = sum(file["bytes"] for file in record["files"].values())
        sizes[record["stage"]["kind"]] += written
    bytes_before = planned["costs"]["bytes"]
    assert bytes_before["dataset"] == pytest.approx(sizes["dataset"], rel=0.25)

    again = ("--plan", "--seeds", "0,1", "--format", "json")
    after = json.loads(bench(*command, *again).assert_ok().out)
    assert after["hours"]["left_out"] == []
    assert all("of this store" in work["how"] for work in after["hours"]["works"])
    assert after["hours"]["total"] > 0
    del sizes["dataset"]  # both seeds share it
    assert after["costs"]["bytes"] == pytest.approx(sizes, rel=0.1)
