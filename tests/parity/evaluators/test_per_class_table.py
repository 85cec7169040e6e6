"""The published table of every class, to the character."""

from __future__ import annotations

import numpy as np

from backbench.results.published_csv import per_class_csv

CLEAN = np.array([[45, 3, 2], [0, 50, 0], [5, 5, 40]])
TRIGGERED = np.array([[10, 40, 0], [0, 50, 0], [1, 48, 1]])

GOLDEN = """\
Model a/b/moco;x/checkpoint,,Clean val,,,,Pois. val,,
Data lists/val.txt,,acc1,,,,acc1,,
,,90.00,,,,40.67,,
class name,class id,TP,FP,,TP,FP
robin; American robin,0,45.0,5.0,,10.0,1.0
Rottweiler,1,50.0,8.0,,50.0,88.0
laptop,2,40.0,2.0,,1.0,0.0
"""

GOLDEN_WITHOUT_ATTACK = """\
Model ,,Clean val,,,,Pois. val,,
Data ,,acc1,,,,acc1,,
,,90.00,,,,,,
class name,class id,TP,FP,,TP,FP
robin; American robin,0,45.0,5.0,,,
Rottweiler,1,50.0,8.0,,,
laptop,2,40.0,2.0,,,
"""


def test_table_to_the_character():
    names = ["robin, American robin", "Rottweiler", "laptop"]
    model, data = "a/b/moco,x/checkpoint", "lists/val.txt"
    assert per_class_csv(names, CLEAN, TRIGGERED, model=model, data=data) == GOLDEN
    assert per_class_csv(names, CLEAN, None, model="", data="") == GOLDEN_WITHOUT_ATTACK
