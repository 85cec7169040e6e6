"""The threat model of an attack, from the records of its stages."""

from __future__ import annotations

import numpy as np

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


def test_it_is_empty_without_an_attack() -> None:
    assert threat_model([]) == {}
    assert threat_text({}) == ""
