"""``backbench protocol``: list, show, diff."""

from __future__ import annotations

import json
import re
import subprocess
import sys

from tests.conftest import Bench

from backbench.benchmark.protocols.card import find_protocol, protocol_ids


def test_list(bench: Bench) -> None:
    lines = bench("protocol").assert_ok().out.splitlines()
    assert [line.split()[0] for line in lines[: len(protocol_ids())]] == protocol_ids()
    assert bench("protocol", "list").out == bench("protocol").out
    rows = json.loads(bench("protocol", "--format", "json").assert_ok().out)
    assert [row["id"] for row in rows] == protocol_ids()


def test_show_names_every_value(bench: Bench) -> None:
    text = bench("protocol", "show", "saha2022-in100@1").assert_ok().out
    values = dict(re.findall(r"^  (\S.*?)  +(\S.*)$", text, re.MULTILINE))
    assert values["classes"] == "100: imagenet100"
    assert values["validation images"] == "5000"
    assert values["validation images are"] == "short side to 256 px, the center 224 px"
    assert values["val_location"] == "[0.1, 0.9]"
    assert values["backbone.stem"] == "imagenet"
    assert values["k"] == "[1, 50]"
    assert values["text"] == "left out"
    card = find_protocol("saha2022-in100@1")
    for name, one in card.evaluators.items():
        part = text.split(f"evaluator {name}\n")[1].split("\n\n")[0]
        for option, value in one.options.items():
            shown = value if isinstance(value, str) else json.dumps(value)
            assert re.search(rf"^  {option} +{re.escape(shown)}$", part, re.MULTILINE)


def test_show_as_json_is_the_card(bench: Bench) -> None:
    found = json.loads(bench("protocol", "show", "embedded@1", "--format", "json").assert_ok().out)
    card = find_protocol("embedded@1")
    assert found["classes"] == list(card.class_names())
    del found["classes"]
    assert found == card.model_dump(mode="json")


def test_diff_tells_what_differs_and_nothing_else(bench: Bench) -> None:
    one, other = "saha2022-in100@1", "saha2022-cifar10@1"
    text = bench("protocol", "diff", one, other).assert_ok().out
    assert re.search(rf"plugin patch · width\n  {one} +50\n  {other} +8\n", text)
    assert "knn" not in text  # the same in both
    assert "val_location" not in text
    rows = json.loads(bench("protocol", "diff", one, other, "--format", "json").assert_ok().out)
    assert all(row[one] != row[other] for row in rows)
    stem = next(row for row in rows if row["where"].endswith("backbone.stem"))
    assert (stem[one], stem[other]) == ("imagenet", "cifar")


def test_diff_folds_what_one_lacks(bench: Bench) -> None:
    one, other = "saha2022-in100@1", "saha2022-in100-published@1"
    lines = bench("protocol", "diff", one, other).assert_ok().out.splitlines()
    assert f"evaluator linear-1pct: only {one}" in lines
    assert f"evaluator linear-raw-1pct: only {other}" in lines
    assert not any("final_lr" in line for line in lines)
    assert bench("protocol", "diff", one, one).assert_ok().out == f"{one} and {one} fix the same\n"


def test_an_unknown_card_is_one_sentence(bench: Bench) -> None:
    for arguments in (["show", "embeded@1"], ["diff", "embedded@1", "embeded@1"]):
        outcome = bench("protocol", *arguments)
        assert outcome.code == 2
        assert outcome.err == (
            "backbench: no protocol is called 'embeded@1': did you mean 'embedded@1'?\n"
        )


def test_the_command_is_light() -> None:
    code = (
        "import sys, backbench.cli.protocol as p\n"
        "p.command(['show', 'saha2022-in100@1'], standalone_mode=False)\n"
        "assert not {'torch', 'torchvision', 'timm', 'faiss', 'scipy'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
