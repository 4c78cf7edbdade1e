"""Files and folders that appear whole or not at all: the one place that writes.

Everything is written under a hidden name beside its place and renamed when it is complete. While
that goes on the hidden file is locked, so that the next writer of the same place can tell the
remains of a killed process, which it takes away, from the work of one that runs.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from persim_gym import checks

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

#: Seconds after which remains are taken away on systems without locks.
STALE = 24 * 3600.0

_NO_ROOM = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT}


def write_bytes(path: Path, content: bytes) -> Path:
    """Write a file; a reader sees the old one or the new one, whole.

    Raises:
        OSError: If it cannot be written, the disk being full among other reasons.
    """
    with replacing(path, len(content)) as part:
        part.write_bytes(content)
    return path


def write_text(path: Path, text: str) -> Path:
    """Write a text in UTF-8; see :func:`write_bytes`."""
    return write_bytes(path, text.encode())


@contextlib.contextmanager
def replacing(path: Path, needed: int = 0) -> Iterator[Path]:
    """A hidden file to write to, which takes its place when the block ends well.

    Missing folders are made. A block that fails leaves nothing: no file, and no folder that was
    made for it. An older file of the name then stays as it was.

    Args:
        path: The file's place.
        needed: Bytes that it will have, where that is known: room for them is made sure of first.

    Yields:
        The hidden file, with the same suffix; it exists and is empty.

    Raises:
        OSError: If the folder cannot be written to, or there is no room.
    """
    made = [folder for folder in path.parents if not folder.exists()]
    part, lock = None, None
    try:
        with saying_what_failed(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            sweep(path)
            make_sure_of_room(path.parent, needed)
            part, lock = _new_part(path)
        with saying_what_failed(path):
            yield part
            with part.open("rb+") as file:
                os.fsync(file.fileno())
            os.replace(part, path)
    except BaseException:
        if part is not None:
            part.unlink(missing_ok=True)
        for folder in made:
            with contextlib.suppress(OSError):  # something else may lie in it by now
                folder.rmdir()
        raise
    finally:
        if lock is not None:
            os.close(lock)


def sweep(path: Path) -> None:
    """Take away what killed writers of a file have left beside it."""
    prefix = f".{path.name}."
    with contextlib.suppress(OSError):  # no such folder
        for entry in os.scandir(path.parent):
            if entry.name.startswith(prefix) and entry.is_file(follow_symlinks=False):
                take_abandoned(Path(entry.path))


def take_abandoned(remains: Path) -> bool:
    """Delete a hidden file or folder unless somebody works at it; whether it is gone."""
    lock = hold(remains)
    try:
        if lock is None and not _is_stale(remains):
            return not remains.exists()
        if remains.is_dir():
            shutil.rmtree(remains, ignore_errors=True)
        else:
            remains.unlink(missing_ok=True)
    except OSError:  # on Windows: open elsewhere
        pass
    finally:
        if lock is not None:
            os.close(lock)
    return not remains.exists()


def has_locks() -> bool:
    """Whether this system can lock files."""
    return fcntl is not None


def hold(path: Path) -> int | None:
    """A lock on a file or folder that ends with this process at the latest, however that ends.

    Returns:
        A descriptor to close; ``None`` where somebody holds it, it is gone, or there are no locks.
    """
    if fcntl is None:
        return None
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Between opening and locking another process may have taken it for remains.
        if os.path.samestat(os.fstat(descriptor), os.stat(path)):
            return descriptor
    except OSError:
        pass
    os.close(descriptor)
    return None


def _is_stale(path: Path) -> bool:
    if fcntl is not None:
        return False
    try:
        return time.time() - path.stat().st_mtime > STALE
    except OSError:
        return False


def claim(new: Path) -> tuple[bool, int | None]:
    """Lock what this process has just made, before anybody takes it for remains.

    Returns:
        Whether it is still there, and the lock, ``None`` where there are no locks.
    """
    if fcntl is None:
        return True, None
    for wait in (0.0, 0.01, 0.1):
        time.sleep(wait)
        lock = hold(new)
        if lock is not None:
            return True, lock
        if not new.exists():  # a moment too late
            return False, None
    return True, None  # a file system without locks


def _new_part(path: Path) -> tuple[Path, int | None]:
    """A new hidden file beside a place, and the lock on it."""
    while True:
        # Not tempfile, whose files are readable by their owner only, and would stay so.
        part = path.with_name(f".{path.name}.{secrets.token_hex(8)}{path.suffix}")
        part.open("xb").close()
        there, lock = claim(part)
        if there:
            return part, lock


# -- room ------------------------------------------------------------------------------------------


def make_sure_of_room(folder: Path, needed: int, written: int = 0) -> None:
    """Raise if a file of ``written`` bytes in a folder cannot grow by ``needed``.

    Raises:
        OSError: If there is no room, with how much was needed.
    """
    if needed <= 0:
        return
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), written, needed)
            elif shutil.disk_usage(folder).free < needed:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.EOPNOTSUPP):
            return  # a file system that cannot tell
        words = f"{error.strerror}: another {checks.size_of(needed)} are needed"
        raise OSError(error.errno, words) from error


@contextlib.contextmanager
def saying_what_failed(path: Path) -> Iterator[None]:
    """Turn the errors of a system into one that names the file and the remedy.

    Raises:
        OSError: In place of any ``OSError`` of the block.
    """
    try:
        yield
    except OSError as error:
        if getattr(error, "explained", False):
            raise
        reason = error.strerror or str(error) or type(error).__name__
        remedy = "make room or choose another folder" if is_full(error) else "choose another place"
        said = OSError(f"cannot write {path}: {reason}; {remedy}")
        said.explained = True  # type: ignore[attr-defined]
        raise said from error


def is_full(error: OSError) -> bool:
    """Whether an error says that there is no room; libraries often keep its number in words."""
    words = str(error).lower()
    return error.errno in _NO_ROOM or "no space left" in words or "file too large" in words


# -- foreign files ---------------------------------------------------------------------------------


def read_regular(path: Path, most: int) -> bytes:
    """The content of a regular file of at most ``most`` bytes.

    A pipe, a device or a link to one is refused before it is opened: opening can wait for ever,
    and reading need not end.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is no regular file, or too large.
    """
    _check_regular(path, path.stat().st_mode)
    # Not to wait, should it have become a pipe since.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | _BINARY)
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        _check_regular(path, status.st_mode)
        content = file.read(most + 1) if status.st_size <= most else b""
    size = max(status.st_size, len(content))
    if size > most:
        raise ValueError(f"{path} has {size:,} bytes, at most {most:,} are read")
    return content


_BINARY = getattr(os, "O_BINARY", 0)


def _check_regular(path: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        what = "a folder" if stat.S_ISDIR(mode) else "a pipe or a device"
        raise ValueError(f"{path} is {what}: a regular file is needed")
