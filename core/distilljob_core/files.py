"""Files that survive a crash: written whole or not at all, and directories with one owner."""

import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

from distilljob_core.errors import DistillJobError, StorageFull

NO_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@contextmanager
def full_storage_named(path: Path) -> Iterator[None]:
    """Turn the operating system's "no space left" into a StorageFull that names the file."""
    try:
        yield
    except OSError as error:
        if error.errno not in NO_SPACE:
            raise
        raise StorageFull(f"{path}: {error.strerror}; enlarge the volume or free some space") from error


def sync_directory(path: Path) -> None:
    """Make created, renamed and removed names in this directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def temporary_of(path: Path) -> Path:
    """Name the file that stands beside this one while it is written; whoever is killed then leaves it."""
    return path.with_name(f".{path.name}.tmp")


def write_atomically(path: Path, content: bytes | memoryview | Callable[[BinaryIO], object]) -> None:
    """Replace a file so that after a crash at any moment it holds the old content or the new, and durably.

    Temporary file beside it, fsync, rename, fsync of the directory. A path has one writer at a time.

    Args:
        path: the file; its directory exists.
        content: the bytes, or a function that writes them into the open file.

    Raises:
        StorageFull: no space left; the old content is intact and the temporary file is gone.
    """
    temporary = temporary_of(path)
    try:
        with full_storage_named(path):
            with temporary.open("wb") as file:
                if callable(content):
                    content(file)
                else:
                    file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            sync_directory(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


class DirectoryLock:
    """Holds a directory for this process, by flock on a file `lock` in it; freed by `release` or by the process's end.

    Raises:
        DistillJobError: another process holds it; the text names the directory and that process.
    """

    def __init__(self, directory: Path) -> None:
        self._descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(self._descriptor, 32).decode(errors="replace") or "unknown"
            self.release()
            raise DistillJobError(f"{directory} is in use by process {holder}; stop it or choose another") from error
        with suppress(OSError):  # whose it is is a courtesy that a full disk may refuse
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, str(os.getpid()).encode(), 0)

    def release(self) -> None:
        """Let others have the directory."""
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
