from __future__ import annotations

import os

import pytest

from backbench.system import memory


def test_glibc_takes_the_settings():
    try:
        os.confstr("CS_GNU_LIBC_VERSION")
    except (AttributeError, ValueError):
        pytest.skip("the C library is not glibc")
    assert memory.keep_memory()


def test_another_c_library_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda _: object())
    assert not memory.keep_memory.__wrapped__()
