"""The threat model of an attack, from the records of its stages."""

from __future__ import annotations

import numpy as np
from tests.factories import record

from backbench.model import Cell, CellName, Plan, Stage, StageKind
from backbench.report.threats import threat_sheet
from backbench.results.threat import threat_model, threat_text
from backbench.store.metadata import ImplantRecord, PoisonRecord, TriggerRecord

LABELS = np.arange(6) % 3


def poison(*chosen: int, **threat: object) -> PoisonRecord:
    return PoisonRecord.of(1, ("a", "b", "c"), np.array(chosen, np.int64), LABELS, threat)


def test_it_has_what_an_attack_on_the_dataset_poisoned_and_requested() -> None:
    sets = {"backgrounds": 10}
    found = threat_model([poison(0, 6, 7, labels=["train"], sets=sets, features=True)])
    assert found == {
        "poisons": 3,
        "added": 2,
        "rate_of_dataset": 3 / 8,
        "labels": ["train"],
        "sets": sets,
        "features": True,
    }
    assert threat_text(found) == (
        "3 poisons, 2 of them added; labels of train; 10 images of backgrounds; features of a "
        "clean encoder"
    )


def test_it_joins_the_stages_of_an_attack() -> None:
    found = threat_model([TriggerRecord(0.5, 2), ImplantRecord(0.25, 3), poison()])
    assert (found["shadow_fraction"], found["references"], found["weights"]) == (0.5, 3, True)
    assert threat_text(found) == (
        "0 poisons; 0.5 of the training images as shadow images; 3 references; weights of the "
        "encoder"
    )


def test_the_table_has_a_line_for_each_attack() -> None:
    stages = {key: Stage(StageKind.POISON, None, seed) for seed, key in enumerate("ab")}
    stages |= {"c": Stage(StageKind.FIT_TRIGGER, None, 0), "d": Stage(StageKind.IMPLANT, None, 0)}
    stages |= {
        training: Stage(StageKind.PRETRAIN, None, 0, {"poison": read})
        for training, read in ("pa", "qb")
    }
    records = {
        "a": poison(0, 6, labels=["train"], sets={"places": 10}, features=True),
        "b": poison(0, labels=["train"], sets={"places": 10}, features=True),
        "c": TriggerRecord(0.5, 2),
        "d": ImplantRecord(0.25, 3),
    }
    cells = [
        Cell(CellName("d", attack, method, "none", "knn", seed), (*path,), None)
        for attack, path, seed in (
            ("none", "", 0), ("mixed", "ap", 0), ("mixed", "bq", 1), ("bad", "d", 0),
            ("learnt", "cap", 0), ("shown", "a", 0),
        )
        for method in ("byol", "simclr")
    ]  # fmt: skip
    plan = Plan("b", stages, tuple(cells))
    sheet = threat_sheet(plan, lambda key: record(key, stages[key], metadata=records[key]))
    lines = {line.names["attack"]: line for line in sheet.lines}
    assert list(lines) == ["mixed", "bad", "learnt"]
    mixed = lines["mixed"]
    assert mixed.names == {
        "dataset": "d",
        "attack": "mixed",
        "labels": "train",
        "auxiliary": "places 10",
        "surrogate": "features",
        "weights": "no",
    }
    assert mixed.seeds == (0, 1)
    assert mixed.values["threat/images"].values == (2 / 7, 1 / 6)
    assert mixed.values["threat/added"].values == (1, 0)
    assert "threat/shadow" not in mixed.values
    assert lines["bad"].names["weights"] == "yes"
    assert lines["bad"].names["labels"] == "none"
    assert lines["bad"].values["threat/references"].values == (3,)
    assert lines["learnt"].names["weights"] == "no"
    assert {column.title for column in sheet.shown} >= {"Images", "Shadow", "References"}
    assert threat_sheet(plan, lambda _: None).lines == ()


def test_it_is_empty_without_an_attack() -> None:
    assert threat_model([]) == {}
    assert threat_text({}) == ""
