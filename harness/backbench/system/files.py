"""Files: written as a whole, hashed, and locked."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from backbench.errors import DataError

_LOCK: Final = ".backbench.lock"


def _read_umask() -> int:
    """Return the umask; it can only be read by setting it, so that is done once, at import."""
    umask = os.umask(0o077)
    os.umask(umask)
    return umask


_UMASK: Final = _read_umask()


@contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Give a hidden path, of this process alone; at the end its file takes the place of another.

    A reader sees the old content or the new content, never a part. If the context raises, the
    old file stays. A ``durable`` file is written to the disk before it takes the place.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        if durable:
            make_durable(partial)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def read_text(path: Path, most: int | None = None) -> str:
    """Read a UTF-8 text that a user has written, of ``most`` bytes at most.

    Raises:
        OSError: If it cannot be read, is too long, or is a pipe or a device.
        UnicodeDecodeError: If it is not text.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
        raise OSError("not a regular file")
    if most is not None and status.st_size > most:
        raise OSError(f"{status.st_size:,} bytes, and {most:,} at most are read")
    return path.read_text(encoding="utf-8-sig")


def reason(error: Exception) -> str:
    """Say why a file cannot be read: the end of a sentence that begins with its path."""
    if isinstance(error, UnicodeDecodeError):
        wide = error.object.startswith((b"\xff\xfe", b"\xfe\xff"))
        guess = ", it looks like UTF-16" if wide else ""
        return f"byte {error.start} is no UTF-8 text{guess}; save it as UTF-8"
    return (getattr(error, "strerror", None) or str(error)).lower()


def write(path: Path, content: str | bytes, *, durable: bool = True) -> None:
    """Write bytes, or a text as UTF-8, to a file as a whole; see :func:`replacing`."""
    data = content.encode() if isinstance(content, str) else content
    with replacing(path, durable=durable) as partial:
        partial.write_bytes(data)


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
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - a Path is slow to make
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def locked(path: Path, busy: Exception) -> Iterator[None]:
    """Hold a lock file; raise ``busy`` if another process holds it.

    A process that is killed leaves the file behind, and no lock.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise busy from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep other callers from writing to a folder meanwhile; raise a DataError if another does."""
    with locked(folder / _LOCK, DataError(f"{folder}: another process is writing to it")):
        try:
            yield
        finally:
            (folder / _LOCK).unlink(missing_ok=True)
