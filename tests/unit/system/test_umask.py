"""Files and folders are shared as far as the umask says."""

import stat
import subprocess
import sys

import pytest

CODE = """
import json, os, sys
os.umask(int(sys.argv[1], 8))
from pathlib import Path
from backbench.data.fingerprint import FileHashes
from backbench.store.store import Store
from backbench.system import files
root = Path(sys.argv[2]) / "store"
store = Store(root)
store.prepare()
with store.writing("k") as folder:
    (folder / "weights").touch(0o600)
    files.share(folder / "weights")
    print(*(oct(one.stat().st_mode & 0o777) for one in (folder, folder / "weights")))
image = Path(sys.argv[2]) / "image"
image.write_bytes(b"x")
os.utime(image, (1e9, 1e9))
hashes = FileHashes(store.files_cache)
hashes(str(image))
hashes.save()
"""


@pytest.mark.parametrize(
    ("umask", "folder", "file"),
    [("077", 0o700, 0o600), ("022", 0o755, 0o644), ("000", 0o777, 0o666)],
)
def test_the_umask_holds_for_all_that_a_store_keeps(tmp_path, umask, folder, file):
    done = subprocess.run(
        [sys.executable, "-c", CODE, umask, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [oct(folder), oct(file)]
    for name in ("store.json", "files.json"):
        assert stat.S_IMODE((tmp_path / "store" / name).stat().st_mode) == file
    assert stat.S_IMODE((tmp_path / "store" / "records").stat().st_mode) == folder
