"""Every stage computes with the same threads and switches, and leaves those of the caller."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from backbench.system.arithmetic import standard_arithmetic


def switches() -> tuple[object, ...]:
    return (
        os.environ.get("OMP_NUM_THREADS"),
        torch.get_num_threads(),
        torch.get_default_dtype(),
        torch.get_default_device().type,
        torch.are_deterministic_algorithms_enabled(),
        torch.get_float32_matmul_precision(),
        torch.is_grad_enabled(),
        torch.is_autocast_enabled("cpu"),
        torch.backends.cudnn.allow_tf32,
        torch.backends.cudnn.benchmark,
        torch.backends.mkldnn.enabled,
    )


def test_what_the_caller_has_set_is_set_aside_and_comes_back(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    with standard_arithmetic(), torch.no_grad(), torch.autocast("cpu"):
        torch.set_num_threads(2)
        torch.set_default_dtype(torch.float64)
        torch.set_default_device("meta")
        torch.use_deterministic_algorithms(mode=True)
        torch.set_float32_matmul_precision("medium")
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.benchmark = True
        torch.backends.mkldnn.enabled = False
        given = switches()
        with standard_arithmetic():
            assert switches() == (
                *("1", 1, torch.float32, "cpu", False, "highest", True, False, True, False, True),
            )
        assert switches() == given
        _reset()
    assert os.environ["OMP_NUM_THREADS"] == "8"


def _reset() -> None:
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float32)
    torch.set_default_device(None)
    torch.use_deterministic_algorithms(mode=False)
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = False
    torch.backends.mkldnn.enabled = True


def test_names_of_torch_that_contradict_each_other_do_not_stop_a_stage():
    """Torch refuses to read an older name when a newer one has been set to something else."""
    with standard_arithmetic():
        torch.backends.cuda.matmul.fp32_precision = "tf32"
        with standard_arithmetic():
            assert torch.get_float32_matmul_precision() == "highest"
        assert torch.backends.cuda.matmul.fp32_precision == "tf32"
        with pytest.raises(RuntimeError, match="mix of the legacy and new"):
            torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("highest")


LIBRARIES = """
import sys
import faiss
from backbench.system.arithmetic import standard_arithmetic
faiss.omp_set_num_threads(3)
with standard_arithmetic():
    assert "torch" not in sys.modules
    print(faiss.omp_get_max_threads())
print(faiss.omp_get_max_threads())
"""


def test_a_library_that_is_loaded_already_computes_with_one_thread():
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LIBRARIES],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["1", "3"]
