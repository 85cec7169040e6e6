"""Every plugin that is broken on purpose is caught by the kit, by the harness, or by both."""

from __future__ import annotations

import os
import random  # noqa: TID251 - its state is restored
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from backbench.errors import BackbenchError
from backbench.plugin.calling import plugin_code
from backbench.system.arithmetic import standard_arithmetic
from tests.contract.broken import (
    announcement,
    attack,
    backbone,
    broken,
    column,
    command,
    composing_attack,
    dataset,
    detector,
    encoder_attack,
    evaluator,
    executor,
    image_evaluator,
    inspection,
    kit_of,
    learning_attack,
    learning_detector,
    metric,
    named_observer,
    observer,
    repair,
    run,
    samples_of,
    sanitize,
    ssl_method,
    training_defense,
)

MODULES = (
    announcement, attack, composing_attack, learning_attack, encoder_attack, repair, sanitize, detector, learning_detector, inspection,
    training_defense, ssl_method, backbone, evaluator, image_evaluator, dataset, metric, observer,
    named_observer, column, command,
    executor,
)  # fmt: skip
SAMPLES = [(module, sample) for module in MODULES for sample in samples_of(module)]

#: Tests of a contract for which its plugin must be installed, or which start a process.
ELSEWHERE = {
    "test_is_announced_by_an_installed_entry_point",
    "test_announcing_does_not_import_torch",
    "test_is_named_by_an_installed_entry_point",
    "test_implementation_does_not_import_torch",
    "test_its_module_does_not_import_torch",
}


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """Undo what broken plugins do to the process."""
    numpy, python = np.random.get_state(), random.getstate()  # noqa: NPY002
    environment = dict(os.environ)
    with torch.random.fork_rng(devices=[]), standard_arithmetic():
        yield
    np.random.set_state(numpy)  # noqa: NPY002
    random.setstate(python)
    os.environ.clear()
    os.environ.update(environment)


@pytest.mark.parametrize("module", MODULES, ids=lambda one: one.__name__.rpartition(".")[2])
def test_a_right_plugin_passes_every_test_and_the_harness(module: Any, tmp_path: Path) -> None:
    kit = kit_of(module, getattr(module, "Right", None) or module.right)
    tests = [name for name in dir(kit) if name.startswith("test_") and name not in ELSEWHERE]
    assert len(tests) > 3
    for test in tests:
        run(kit, test, tmp_path)
    module.harness(kit, tmp_path / "harness")


@pytest.mark.parametrize(
    ("module", "sample"),
    SAMPLES,
    ids=[f"{module.__name__.rpartition('.')[2]}-{one.__name__}" for module, one in SAMPLES],
)
def test_a_broken_plugin_is_caught(module: Any, sample: Any, tmp_path: Path) -> None:
    caught = sample.caught
    assert caught.kit or caught.harness
    if caught.kit:
        with pytest.raises(AssertionError) as failed:
            run(kit_of(module, sample), caught.kit, tmp_path)
        assert is_sentence(str(failed.value))
    if caught.harness:
        with pytest.raises(BackbenchError, match=caught.harness), plugin_code("it"):
            module.harness(kit_of(module, sample), tmp_path / "harness")


def is_sentence(text: str) -> bool:
    """Return whether a text is words, and neither a bare comparison nor a Python error."""
    return len(re.findall(r"\w{2,}", text)) >= 4 and "assert " not in text


def test_there_are_samples_of_every_contract_and_each_has_its_sentence() -> None:
    assert len(SAMPLES) >= 84
    for module in MODULES:
        assert len(samples_of(module)) >= 8, module.__name__
    for _, sample in SAMPLES:
        assert (sample.__doc__ or "").strip().endswith("."), sample.__name__


def test_a_module_that_ends_the_process_at_import_is_named(tmp_path: Path) -> None:
    registry = announcement.imported(tmp_path, "exits_at_import", "import sys\nsys.exit('bye')\n")
    (failure,) = registry.failures
    assert failure.reason == "cannot be loaded (SystemExit: bye)"


def test_what_a_module_prints_at_import_goes_to_stderr(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    announcement.imported(tmp_path, "prints_at_import", "print('hello')\n")
    out, err = capfd.readouterr()
    assert (out, "hello" in err) == ("", True)


def test_a_sample_that_is_not_broken_is_noticed(tmp_path: Path) -> None:
    fine = broken("test_stamp_shows")(type("Fine", (attack.Right,), {}))
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        test_a_broken_plugin_is_caught(attack, fine, tmp_path)
