"""Files that are replaced whole: written under another name in the same folder, then renamed.

Who has the old file open, or mapped into memory, keeps it as it was. What a process that was killed
has left behind is found by a lock that died with it, and removed by the next one.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import re
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from types import ModuleType

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

__all__ = [
    "draft", "fill", "folders", "locked", "refusal", "remove_dead_drafts", "replace", "replace_all",
    "sync", "write",
]  # fmt: skip

_PREFIX = ".kerasvino-"
_DRAFT = re.compile(re.escape(_PREFIX) + r"[0-9a-f]{12}-.*\.part", re.DOTALL)
_LOCK = _PREFIX + "lock"
_DAY = 86400.0

# Names of devices in Windows, with any ending: "nul.xml" is the device as well.
_DEVICES = {"con", "prn", "aux", "nul", "conin$", "conout$"} | {
    kind + digit for kind in ("com", "lpt") for digit in "123456789¹²³"
}


def refusal(name: str) -> str | None:
    """Why `name` cannot be the name of a file or folder on every system; None where it can."""
    if not name.strip():
        return "it is empty"
    if "/" in name or "\\" in name or name in (".", ".."):
        return "it would leave the folder"
    if any(ord(character) < 32 or ord(character) == 127 for character in name):
        return "it has control characters"
    if wrong := [character for character in '<>:"|?*' if character in name]:
        return f"Windows allows no {wrong[0]} in names"
    if name[0] in " .-" or name[-1] in " .":
        return "it begins or ends with a dot, a dash or a space"
    if name.partition(".")[0].rstrip().lower() in _DEVICES:
        return "it is the name of a device in Windows"
    try:
        length = len(name.encode())
    except UnicodeEncodeError:
        return "it is not valid Unicode"
    return f"it is {length} bytes long, and 200 are the most" if length > 200 else None


@contextlib.contextmanager
def folders(path: str | os.PathLike[str]) -> Iterator[None]:
    """Makes a folder and those above it; after an error those it has made and that are empty go."""
    missing, place = [], os.path.abspath(path)
    while not os.path.lexists(place):
        missing.append(place)
        place = os.path.dirname(place)
    os.makedirs(path, exist_ok=True)
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            for made in missing:
                os.rmdir(made)
        raise


# -- drafts


@contextlib.contextmanager
def draft(path: str | os.PathLike[str], folder: bool = False) -> Iterator[str]:
    """A new file, or a new folder, in the folder of `path`, to be renamed to it.

    What is still there at the end is removed, also after an error or an interrupt. Its mode follows
    the umask, as that of any new file.
    """
    made, held = _made(os.path.abspath(path), folder)
    try:
        yield made
    finally:
        if held is not None:
            _let_go(held)
        _remove(made)


def _made(path: str, folder: bool) -> tuple[str, int | None]:
    """The path of a new draft, and the descriptor that holds its lock, where there are locks."""
    parent, name = os.path.split(path)
    while True:
        made = os.path.join(parent, f"{_PREFIX}{secrets.token_hex(6)}-{name[:40]}.part")
        if folder:
            os.mkdir(made)
            if fcntl is None:
                return made, None
            descriptor = os.open(made, os.O_RDONLY)
        else:
            descriptor = os.open(made, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666)
            if fcntl is None:  # Windows renames no file that is open
                os.close(descriptor)
                return made, None
        if _lock(descriptor) is False or not _is_at(descriptor, made):
            os.close(descriptor)  # another process took it for a dead one before it was locked
            continue
        return made, descriptor


def remove_dead_drafts(folder: str | os.PathLike[str]) -> None:
    """Removes what killed processes have left in a folder."""
    with contextlib.suppress(FileNotFoundError), os.scandir(os.fspath(folder)) as entries:
        for entry in entries:
            if _DRAFT.fullmatch(entry.name) and _is_dead(entry.path):
                _remove(entry.path)


def _is_dead(path: str) -> bool:
    """Whether no living process writes a draft.

    Where nothing can be locked, one that nobody has changed for a day is dead.
    """
    try:
        if fcntl is not None:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            free = _lock(descriptor)
            _let_go(descriptor)
            if free is not None:
                return free
        return time.time() - os.lstat(path).st_mtime > _DAY
    except OSError:  # it is gone, or another user's
        return False


def _remove(path: str) -> None:
    """Removes a draft. One that cannot be removed is left to who comes next."""
    with contextlib.suppress(OSError):
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path, ignore_errors=True)
        else:
            os.unlink(path)


# -- into place


def write(
    path: str | os.PathLike[str], parts: Iterable[bytes | memoryview], safe: bool = True
) -> None:
    """Writes a file, whole or not at all.

    Args:
        path: of the file; one that is there is replaced.
        parts: its bytes, one after the other.
        safe: waits until they are on the disk, so that they survive a power cut.

    Raises:
        OSError: it cannot be written; nothing is left behind.
    """
    with draft(path) as place:
        fill(place, parts, safe)
        replace(place, path)


def fill(place: str, parts: Iterable[bytes | memoryview], safe: bool = True) -> None:
    """Writes a draft; see `write`."""
    try:
        with open(place, "wb") as file:
            for part in parts:
                file.write(part)
            if safe:
                file.flush()
                os.fsync(file.fileno())
    except OSError as error:
        if error.filename is None:  # Python says which file only of those that cannot be opened
            error.filename = os.path.dirname(place)
        raise


def replace(source: str | os.PathLike[str], path: str | os.PathLike[str]) -> None:
    """Renames a file or folder; a file at `path` is replaced.

    Raises:
        PermissionError: the folder is not the user's to write; or, in Windows, a process has the
            file at `path` open or mapped.
        OSError: of other kinds, as `os.replace` raises it.
    """
    try:
        os.replace(source, path)
    except PermissionError as error:
        if os.name != "nt":
            raise
        raise PermissionError(
            error.errno,
            "it is in use, and Windows replaces no file that a process has open or mapped: stop "
            "that process, or write under another name",
            os.fspath(path),
        ) from error


def replace_all(moves: Sequence[tuple[str, str]], aside: str) -> None:
    """Replaces files that belong together, so that nobody finds new ones beside old ones.

    Readers look for the last of them first: it goes first and comes last. In between there is none.

    Args:
        moves: (where it is, where it is to be) of each.
        aside: folder on the same disk, for the old files; the caller removes it.
    """
    old = [(path, os.path.join(aside, f"old-{index}")) for index, (_, path) in enumerate(moves)]
    undo: list[tuple[str, str]] = []
    try:
        for path, kept in reversed(old):
            if os.path.lexists(path):
                replace(path, kept)
                undo.append((kept, path))
        for source, path in moves:
            replace(source, path)
            undo.append((path, source))
    except BaseException:
        for now, before in reversed(undo):
            os.replace(now, before)
        raise


def sync(*paths: str) -> None:
    """Waits until files, or the names in folders, are on the disk."""
    for path in paths:
        if os.path.isdir(path):
            if os.name == "nt":  # which opens no folders
                continue
            descriptor = os.open(path, os.O_RDONLY)
        else:
            descriptor = os.open(path, os.O_RDWR)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno != errno.EINVAL:  # some network file systems have no such thing
                raise
        finally:
            os.close(descriptor)


# -- locks


@contextlib.contextmanager
def locked(folder: str | os.PathLike[str], seconds: float = 300.0) -> Iterator[None]:
    """Only one process, and one thread of it, at a time is in such a block for a folder.

    Where the file system has no locks, nothing is locked.

    Raises:
        TimeoutError: another one has been in it for `seconds`.
        OSError: the folder cannot be written.
    """
    path = os.path.join(folder, _LOCK)
    end = time.monotonic() + seconds
    while True:
        descriptor = _opened_lock(path)
        if descriptor is not None:
            free = _lock(descriptor)
            if free is None or (free and _is_at(descriptor, path)):
                break
            os.close(descriptor)
        if time.monotonic() > end:
            raise TimeoutError(
                errno.ETIMEDOUT,
                f"another process has been writing to this folder for {seconds:g} seconds",
                os.fspath(folder),
            )
        time.sleep(random.uniform(0.002, 0.02))
    try:
        yield
    finally:
        if fcntl is not None:
            # While it is locked: who opened it before finds out that it is not there any more.
            with contextlib.suppress(OSError):
                os.unlink(path)
            _let_go(descriptor)
        else:
            _let_go(descriptor)
            with contextlib.suppress(OSError):  # another process has it open
                os.unlink(path)


def _opened_lock(path: str) -> int | None:
    """A descriptor of the lock; None where another process removes it just now."""
    try:
        return os.open(path, os.O_CREAT | os.O_RDWR, 0o666)
    except PermissionError:
        if not os.path.exists(path):
            raise
    with contextlib.suppress(FileNotFoundError):
        return os.open(path, os.O_RDONLY)  # another user's, killed while holding it
    return None


def _lock(descriptor: int) -> bool | None:
    """Locks an open file or folder: False where another has it, None where there are no locks."""
    try:
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
    except OSError as error:
        taken = (errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK, errno.EINTR)
        return False if error.errno in taken else None
    return True


def _let_go(descriptor: int) -> None:
    # Unlocked, not only closed: a process that was forked meanwhile has the descriptor as well.
    if fcntl is not None:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)


def _is_at(descriptor: int, path: str) -> bool:
    """Whether an open file is the one at `path`."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path, follow_symlinks=False))
    except FileNotFoundError:
        return False
