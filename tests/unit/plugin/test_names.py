"""The names that ``backbench.plugin`` gives."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys

import pytest

import backbench.plugin


def test_every_name_is_there_and_imports_numpy_and_torch_only_when_they_are_used():
    code = (
        "import sys, backbench.plugin as plugin\n"
        "from backbench.plugin.registry import load_registry\n"
        "assert load_registry().names('attack')\n"
        "assert not {'numpy', 'torch'} & sys.modules.keys()\n"
        "for name in plugin.__all__: getattr(plugin, name)\n"
        "assert 'torch' in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_name_that_does_not_exist_is_an_attribute_error():
    with pytest.raises(AttributeError, match=r"'backbench\.plugin' has no attribute 'Atack'"):
        backbench.plugin.Atack  # noqa: B018 - to see the error


@pytest.mark.parametrize(
    "base",
    [
        "Attack",
        "SSLMethod",
        "Defense",
        "Evaluator",
        "ImageEvaluator",
        "Dataset",
        "Executor",
        "Observer",
    ],
)
def test_the_types_in_a_base_class_s_signatures_can_be_imported_from_there(base):
    named = set()
    for _, function in inspect.getmembers(getattr(backbench.plugin, base), inspect.isfunction):
        if function.__module__.startswith("backbench."):
            for annotation in inspect.get_annotations(function).values():
                named |= set(re.findall(r"\b[A-Z]\w+", str(annotation)))
    assert named - ELSEWHERE <= set(backbench.plugin.__all__)


#: Types of the standard library, NumPy, torch and pydantic.
ELSEWHERE = {"Any", "Callable", "Iterable", "Mapping", "Sequence"}
ELSEWHERE |= {"NDArray", "Generator", "None", "Tensor"}
