"""The arithmetic of a stage: the same threads and switches, whichever process computes it.

The number of threads decides how sums are rounded, and switches of torch decide with how many
bits. A stage's key holds neither, so every stage has those of a fresh process with one thread.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, Final

#: Variables that numerical libraries read, when loaded, for their number of threads.
ONE_THREAD: Final = dict.fromkeys(
    ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"
)

#: Settings below ``torch.backends`` that numbers may depend on, older names before newer ones.
_BACKENDS: Final = {
    "cudnn.allow_tf32": True,
    "fp32_precision": "none",
    "cuda.matmul.fp32_precision": "none",
    "cudnn.fp32_precision": "none",
    "cudnn.conv.fp32_precision": "tf32",
    "cudnn.rnn.fp32_precision": "tf32",
    "mkldnn.fp32_precision": "none",
    "mkldnn.matmul.fp32_precision": "none",
    "mkldnn.conv.fp32_precision": "none",
    "mkldnn.rnn.fp32_precision": "none",
    "cuda.matmul.allow_fp16_reduced_precision_reduction": True,
    "cuda.matmul.allow_bf16_reduced_precision_reduction": True,
    "cudnn.enabled": True,
    "cudnn.benchmark": False,
    "cudnn.deterministic": False,
    "mkldnn.enabled": True,
    "mkldnn.deterministic": False,
}

#: The getter and the setter of a setting, and its value for stages.
_Setting = tuple[Callable[[], Any], Callable[[Any], object], Any]

#: The value of an older name that contradicts a newer one: torch refuses to read it.
_MIXED: Final = object()


@contextmanager
def standard_arithmetic() -> Iterator[None]:
    """Compute as a fresh process with one thread does; then leave all as it was before.

    Covers this thread, torch where it is imported already, and the OpenMP and BLAS libraries that
    are loaded: others read the environment.
    """
    from threadpoolctl import threadpool_limits  # late: most commands compute nothing

    settings = [(_value(read), change, wanted) for read, change, wanted in _settings()]
    with threadpool_limits(1), ExitStack() as stack:
        for value, change, wanted in settings:
            if value != wanted:
                if value is not _MIXED:
                    stack.callback(change, value)
                change(wanted)
        yield


def _value(read: Callable[[], Any]) -> Any:
    try:
        return read()
    except RuntimeError:
        return _MIXED


def _settings() -> Iterator[_Setting]:
    for name, number in ONE_THREAD.items():
        yield partial(os.environ.get, name), partial(_set_variable, name), number
    if (torch := sys.modules.get("torch")) is not None:
        yield torch.get_num_threads, torch.set_num_threads, 1
        yield torch.get_default_dtype, torch.set_default_dtype, torch.float32
        yield torch.get_default_device, torch.set_default_device, torch.device("cpu")
        yield torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode, 0
        yield torch.is_grad_enabled, torch.set_grad_enabled, True
        for device in ("cpu", "cuda"):
            change = partial(torch.set_autocast_enabled, device)
            yield partial(torch.is_autocast_enabled, device), change, False
        yield torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, "highest"
        for path, wanted in _BACKENDS.items():
            *folders, name = path.split(".")
            owner: Any = torch.backends
            for folder in folders:
                owner = getattr(owner, folder)
            yield partial(getattr, owner, name), partial(setattr, owner, name), wanted


def _set_variable(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value
