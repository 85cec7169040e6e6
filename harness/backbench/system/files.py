"""Files: written as a whole, read within bounds, hashed, and named for their process."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import re
import secrets
import shutil
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Final

from backbench.errors import FULL, UsageError, message_of

#: A path as a caller gives it.
PathLike = str | os.PathLike[str]

#: Folders that network drives, archives and systems make, lower case.
_SYSTEM_FOLDERS: Final = frozenset(
    {
        "#recycle",
        "#snapshot",
        "$recycle.bin",
        "@eadir",
        "@recently-snapshot",
        "@recycle",
        "@tmp",
        "__macosx",
        "lost+found",
        "system volume information",
    }
)

#: Beginnings of the names of hidden ones, lower case.
_SYSTEM_HIDDEN: Final = (".ds_store", ".fseventsd", ".snapshot", ".spotlight-", ".trash")


#: End of a temporary name: the machine and the number of the process that it belongs to.
_OWNER: Final = re.compile(r"[.-]([0-9a-f]{8})-(\d+)-[0-9a-f]{8}(\.partial)?$")

_READ: Final = os.O_RDONLY | getattr(os, "O_BINARY", 0)

#: Bytes that are read of a file at a time to hash it.
_PIECE: Final = 2**18

#: Seconds between looks for a file that another machine has written.
_LOOKS_S: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8)


def _read_umask() -> int:
    """Return the umask; it can only be read by setting it, so that is done once, at import."""
    umask = os.umask(0o077)
    os.umask(umask)
    return umask


_UMASK: Final = _read_umask()


def occupy_standard_descriptors() -> None:
    """Open those of 0, 1 and 2 that are closed to nothing: no file or pipe gets their number."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the first number that is free


@cache
def _machine() -> str:
    """Return 8 hexadecimal digits of this machine, or of the container that counts processes."""
    name = socket.gethostname()
    with suppress(OSError):
        name += os.readlink("/proc/self/ns/pid")  # noqa: PTH115 - a word, and no path
    return hashlib.sha256(name.encode()).hexdigest()[:8]


def owned_name() -> str:
    """Return the end of a temporary name that no other process of any machine uses."""
    return f"{_machine()}-{os.getpid()}-{secrets.token_hex(4)}"


def is_abandoned(name: str) -> bool:
    """Return whether a temporary file or folder is of this process, or of one that has ended.

    What a process of another machine has made is never abandoned: whether it still runs cannot be
    known, and the clocks of two machines differ. A name without an owner is of an earlier version.
    """
    found = _OWNER.search(name)
    if found is None:
        return True
    machine, process = found[1], int(found[2])
    if machine != _machine() or process == os.getpid():
        return machine == _machine()
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except OSError:  # it is another user's
        return False
    return False


def time_in(folder: Path) -> float:
    """Return the time that the file system of a folder gives to a file that is made there now.

    Times of other files there are compared with it: clocks of machines differ.
    """
    path = folder / f".now.{owned_name()}.partial"
    try:
        path.touch()
        return path.stat().st_mtime
    finally:
        path.unlink(missing_ok=True)


def looks_for(folder: Path | None = None) -> Iterator[None]:
    """Yield at once, and then some times within two seconds, while a file may appear in a folder.

    A network drive may show a new file late to other machines. When the folder is listed, it asks
    the server again.
    """
    yield
    for seconds in _LOOKS_S:
        time.sleep(seconds)
        if folder is not None:
            with suppress(OSError):
                os.scandir(folder).close()
        yield


@contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Give a hidden path, of this process alone; at the end its file takes the place of another.

    A reader sees the old content or the new content, never a part. If the context raises, the
    old file stays. A ``durable`` file is written to the disk before it takes the place.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{owned_name()}.partial")
    try:
        yield partial
        if durable:
            make_durable(partial)
        partial.replace(path)
    except BaseException as error:
        partial.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = os.fspath(path)  # a full disk does not report where
        raise


def from_home(path: Path) -> Path:
    """Return a path whose beginning ``~`` or ``~name`` is a home folder.

    Raises:
        UsageError: If there is no such home folder.
    """
    try:
        return path.expanduser()
    except RuntimeError:
        start = path.parts[0]
        raise UsageError(
            f"there is no home folder for {start!r}; give a path without it, or ./{start} for a "
            "folder of that name"
        ) from None


def open_regular(path: str | Path, most: int | None = None) -> io.BufferedReader:
    """Open a regular file of ``most`` bytes at most; a pipe or a device may never end.

    Raises:
        OSError: If it cannot be opened, is too long, or is a pipe, a device or a socket.
    """
    file = open(path, "rb", opener=_at_once)  # noqa: SIM115 - a Path is slow to make
    try:
        _regular_size(file.fileno(), path, most)
    except OSError:
        file.close()
        raise
    return file


def read_regular(path: str | Path, most: int | None = None) -> bytes:
    """Read the whole of a regular file of ``most`` bytes at most, with few system calls.

    Raises:
        OSError: See :func:`open_regular`.
    """
    descriptor = _at_once(path, _READ)
    try:
        left, parts = _regular_size(descriptor, path, most), []
        while left > 0 and (part := os.read(descriptor, left)):
            parts.append(part)
            left -= len(part)
    finally:
        os.close(descriptor)
    return b"".join(parts)


def _regular_size(descriptor: int, path: str | Path, most: int | None) -> int:
    """Return the size of an open file that is regular and no longer than ``most`` bytes."""
    status = os.fstat(descriptor)
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    problem = "" if stat.S_ISREG(status.st_mode) else "not a regular file"
    if most is not None and status.st_size > most:
        problem = f"{status.st_size:,} bytes, and {most:,} at most are read"
    if problem:
        raise OSError(errno.EINVAL, problem, str(path))
    return status.st_size


def _at_once(path: str | Path, flags: int) -> int:
    """Open a pipe without waiting for who writes to it."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def read_text(path: Path, most: int | None = None) -> str:
    """Read a UTF-8 text that a user has written, of ``most`` bytes at most.

    Raises:
        OSError: See :func:`open_regular`.
        UnicodeDecodeError: If it is not text.
    """
    with open_regular(path, most) as file, io.TextIOWrapper(file, "utf-8-sig") as text:
        return text.read()


def read_failure(error: Exception) -> str:
    """Return why a file cannot be read: the end of a sentence that begins with its path."""
    if isinstance(error, UnicodeDecodeError):
        wide = error.object.startswith((b"\xff\xfe", b"\xfe\xff"))
        guess = ", it looks like UTF-16" if wide else ""
        return f"byte {error.start} is no UTF-8 text{guess}; save it as UTF-8"
    return (getattr(error, "strerror", None) or "").lower() or str(error)


def write(path: Path, content: str | bytes, *, durable: bool = True) -> None:
    """Write bytes, or a text as UTF-8, to a file as a whole; see :func:`replacing`."""
    data = content.encode() if isinstance(content, str) else content
    with replacing(path, durable=durable) as partial:
        partial.write_bytes(data)


def remove(path: Path) -> None:
    """Remove a file, a link, or a folder with all that is in it, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def share(path: Path) -> None:
    """Let others use a file or folder as far as the umask of this process allows.

    Temporary folders and safetensors files allow only their owner. File systems without modes
    (exFAT, SMB) refuse the change, and need none.
    """
    mode = 0o777 if path.is_dir() else 0o666
    with suppress(OSError):
        path.chmod(mode & ~_UMASK)


def make_durable(path: Path) -> None:
    """Have the system write a file to the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file, 64 hexadecimal digits, read piece by piece."""
    digest = hashlib.sha256()
    descriptor = _at_once(path, _READ)
    try:
        _regular_size(descriptor, path, None)
        while piece := os.read(descriptor, _PIECE):
            digest.update(piece)
    finally:
        os.close(descriptor)
    return digest.hexdigest()


def stamps(status: os.stat_result) -> list[int]:
    """Return what moves when a file is changed or replaced: inode, size, times of change in ns.

    A file that is unpacked or copied may get size and time of the old one, but the system alone
    sets the time of the last change of the inode.
    """
    return [status.st_ino, status.st_size, status.st_ctime_ns, status.st_mtime_ns]


def content_of(path: Path) -> str:
    """Return the SHA-256 of a file, or of all files below a folder; empty if nothing is there.

    Links to folders are followed, each folder once; a link upwards leads nowhere.
    """
    if not path.is_dir():
        return sha256(path) if path.is_file() else ""
    digest = hashlib.sha256()
    for one in sorted(_files_below(path)):
        digest.update(f"{one.relative_to(path).as_posix()}\0{sha256(one)}\n".encode())
    return digest.hexdigest()


def _files_below(folder: Path) -> Iterator[Path]:
    """Find files as images are found: links last, so that each folder has always the same name."""
    seen = {*folder.absolute().parents, *folder.resolve().parents}
    plain, links = [folder], list[Path]()
    while plain or links:
        place = plain.pop() if plain else links.pop()
        if (real := place.resolve()) in seen:
            continue
        seen.add(real)
        with suppress(OSError):  # who reads the images says what is wrong
            below = sorted(place.iterdir(), reverse=True)
            folders = [one for one in below if one.is_dir()]
            yield from (one for one in below if one.is_file())
            plain += [one for one in folders if not one.is_symlink()]
            links += [one for one in folders if one.is_symlink()]


def is_of_system(name: str) -> bool:
    """Return whether a file or folder of this name is made by a system: no concern of users."""
    return name.lower() in _SYSTEM_FOLDERS or name.lower().startswith(_SYSTEM_HIDDEN)


def is_full(error: BaseException | None) -> bool:
    """Return whether a disk is full, or a quota used up, by an error or what has caused it."""
    seen = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))  # an error may be its own cause
        if isinstance(error, OSError) and error.errno in FULL:
            return True
        text = message_of(error)  # safetensors has its own errors
        if any(os.strerror(one) in text for one in FULL):
            return True
        error = error.__cause__ or error.__context__
    return False
