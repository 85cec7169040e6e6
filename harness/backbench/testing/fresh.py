"""Check that a result is the same in a fresh process, which has computed nothing before.

One child of this process imports what is slow to import and keeps nothing else: it answers each
question in a fork of itself, so that no question finds what another has left. It has another hash
seed, an empty current folder, another time zone and clocks that are ahead.
"""

from __future__ import annotations

import atexit
import base64
import gc
import hashlib
import importlib
import importlib.util
import io
import operator
import os
import pickle  # noqa: TID251 - of our own, for a child that ends with this process
import pickletools
import subprocess
import sys
import tempfile
import traceback
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

from backbench.plugin.calling import sentence_of
from backbench.system.arithmetic import standard_arithmetic
from backbench.system.json_text import from_json, to_json
from backbench.testing.base import PluginContract, installed
from backbench.testing.purity import elsewhere

#: What a cell has computed, as arrays by name.
Arrays = Mapping[str, Any]

#: More than a day from any time zone, so that the date differs, too.
_TIME_ZONE: Final = "AHEAD-42:30"

_START: Final = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from backbench.testing.fresh import serve; serve()"
)


class CellsContract(PluginContract):
    """Common contract of plugins that one process may run for several cells of a matrix."""

    @abstractmethod
    def of_cell(self, cell: int) -> Arrays:
        """Compute, with a new plugin, what differs between cells; return it as arrays by name.

        Cells 0 and 1 have the same seed and options, and other inputs.
        """

    def test_nothing_is_kept_between_cells(self) -> None:
        """A cell gives the same after another cell as in a fresh process, by itself."""
        self.implementation()
        self.of_cell(0)
        here = digests(self.of_cell(1))
        there = in_fresh_process(self, 1)
        wrong = [name for name in here if here[name] != there.get(name)]
        wrong += [name for name in there if name not in here]
        assert not wrong, (
            f"another process, or another order of cells, gives other {wrong[0]}: keep "
            "nothing in modules or classes, and let nothing follow from hash, sets of words, the "
            "clock or the current folder: draw from the seed alone"
        )


def digests(arrays: Arrays) -> dict[str, str]:
    """Return a digest of the values, type and shape of each array."""
    found = {}
    for name, one in arrays.items():
        array = np.ascontiguousarray(one)
        header = f"{array.dtype.str} {array.shape} ".encode()
        found[name] = hashlib.sha256(header + array.tobytes()).hexdigest()
    return found


def in_fresh_process(contract: CellsContract, cell: int) -> dict[str, str]:
    """Compute a cell of a contract in a fresh process; return the digests of its arrays.

    Skips the test where the other process cannot find the contract.
    """
    name = type(contract).__qualname__
    try:
        pickled = pickle.dumps(contract)
    except Exception as error:  # noqa: BLE001 - whatever an author's object raises
        _skip(name, sentence_of(error))
    files = _files(pickled)
    if "__main__" in files:
        _skip(name, "it is defined in a notebook or script")
    answer = _ask(
        {
            "path": _path(),
            "files": files,
            "contract": base64.b64encode(pickled).decode(),
            "cell": cell,
        }
    )
    if "lost" in answer:
        _skip(name, answer["lost"])
    assert "raised" not in answer, (
        "another process, whose current folder is empty, cannot compute what this one can: "
        f"{answer['raised']}. Read no file of the current folder, and nothing that another cell "
        "has left; give files in the contract's options by their whole path"
    )
    found: dict[str, str] = answer["digests"]
    return found


def _skip(name: str, reason: str) -> None:
    pytest.skip(
        f"no fresh process finds {name}: define it, and all that it keeps, at the top of a "
        f"module ({reason})"
    )


def _files(pickled: bytes) -> dict[str, str]:
    """Return the files of the modules that a pickle names."""
    names = {one for _, one, _ in pickletools.genops(pickled) if isinstance(one, str)}
    return {
        name: str(Path(getattr(sys.modules[name], "__file__", None) or "").absolute())
        for name in names & sys.modules.keys()
        if name == "__main__" or getattr(sys.modules[name], "__file__", None)
    }


def _path() -> list[str]:
    return [str(Path(one).absolute()) for one in sys.path]


# -- this process -----------------------------------------------------------------------------


def _ask(question: Mapping[str, Any]) -> dict[str, Any]:
    """Let the child answer; start one where none is there, as where the last has ended."""
    child = _CHILD[0] if _CHILD else None
    if child is None or child.poll() is not None:
        _close()
        child = _started()
        _CHILD.append(child)
    assert child.stdin is not None, "open the pipe to the fresh process"
    assert child.stdout is not None, "open the pipe from the fresh process"
    child.stdin.write(to_json(question) + "\n")
    child.stdin.flush()
    line = child.stdout.readline()
    if not _FORKS or not line:
        _close()
    answer: dict[str, Any] = from_json(line or '{"raised": "the process has ended"}')
    return answer


#: The child, if there is one.
_CHILD: list[subprocess.Popen[str]] = []

#: Whether a process that has imported torch can be forked safely.
_FORKS: Final = sys.platform == "linux"


def _started() -> subprocess.Popen[str]:
    seed = os.environ.get("PYTHONHASHSEED", "")
    other = str(int(seed) + 1 if seed.isdecimal() else 77)
    return subprocess.Popen(  # noqa: S603 - our own interpreter and code
        [sys.executable, "-c", _START, to_json(_path())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONHASHSEED": other, "TZ": _TIME_ZONE},
    )


@atexit.register
def _close() -> None:
    """End the child, which does so itself when its input ends."""
    while _CHILD:
        child = _CHILD.pop()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                pipe.close()
        child.wait()


# -- the fresh process ------------------------------------------------------------------------


def serve() -> None:
    """Answer the questions of the standard input, a line each."""
    import torch

    import backbench.nn  # noqa: F401

    # What torch imports late, when an optimizer is made, and the registry: so that no fork has to.
    torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    installed()
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answers:
        os.dup2(2, 1)  # what a plugin prints is no answer
        gc.freeze()
        for line in sys.stdin:
            answers.write(_answered(line) + "\n")
            answers.flush()
            if not _FORKS:
                return


def _answered(line: str) -> str:
    """Answer a question in a fork, or in this process where there is none."""
    here = Path.cwd()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        answer, empty = Path(folder) / "answer.json", Path(folder) / "empty"
        empty.mkdir()
        os.chdir(empty)
        if not _FORKS:
            answer.write_text(_answer(line), encoding="utf-8")
        elif process := os.fork():
            os.waitpid(process, 0)
        else:
            try:
                answer.write_text(_answer(line), encoding="utf-8")
            except BaseException:  # noqa: BLE001 - the missing answer tells
                traceback.print_exc()
            os._exit(0)  # without the end that the process's other part has
        os.chdir(here)
        if answer.exists():
            return answer.read_text(encoding="utf-8")
        return to_json({"raised": "the process has ended"})


def _answer(line: str) -> str:
    question = from_json(line)
    sys.path[:] = question["path"]
    try:
        pickled = base64.b64decode(question["contract"])
        contract = _Unpickler(io.BytesIO(pickled), question["files"]).load()
    except BaseException as error:  # noqa: BLE001 - a module may raise, or skip itself
        return to_json({"lost": sentence_of(error)})
    try:
        with standard_arithmetic(), elsewhere():
            found = digests(contract.of_cell(question["cell"]))
    except BaseException as error:  # noqa: BLE001 - of an author's plugin
        return to_json({"raised": sentence_of(error)})
    return to_json({"digests": found})


class _Unpickler(pickle.Unpickler):
    """Finds classes in modules of the files that are given, whichever way pytest imports them."""

    def __init__(self, file: io.BytesIO, files: Mapping[str, str]) -> None:
        super().__init__(file)
        self.files = files

    def find_class(self, module: str, name: str, /) -> Any:
        if module not in self.files:
            return super().find_class(module, name)
        _import(module, self.files[module])
        return operator.attrgetter(name)(sys.modules[module])  # whatever packages it is in


def _import(name: str, file: str) -> None:
    """Import a module by its name if that leads to the file, and else from the file."""
    if name in sys.modules:
        return
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        spec = None
    if spec is not None and spec.origin == file:
        importlib.import_module(name)
        return
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is no module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
