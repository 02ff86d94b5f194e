"""Files of a catalogue, on disk or in an object store, with an account of what is read."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from aiohttp import ClientError
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from lightloom.errors import ArchiveError, DamagedFileError, TransientArchiveError
from lightloom.reads import Reads

#: HTTP statuses that another attempt will not change.
_ABSENT = (404, 410)
_REFUSED = (401, 403)


@contextmanager
def _transport(path: str) -> Iterator[None]:
    """Say which file a failure of the transport belongs to, and whether it may pass."""
    try:
        yield
    # Every transport library has exceptions of its own, without a common class.
    except Exception as error:
        raise _archive_error(path, error) from error


def _archive_error(path: str, error: Exception) -> ArchiveError:
    # fsspec calls a file absent whenever it cannot learn its size by HTTP; the cause tells why.
    cause = error.__cause__ if isinstance(error.__cause__, ClientError) else error
    status = getattr(cause, "status", None)
    if isinstance(cause, FileNotFoundError | NotADirectoryError) or status in _ABSENT:
        return DamagedFileError(f"{path}: listed or expected, but absent")
    if isinstance(cause, PermissionError) or status in _REFUSED:
        return ArchiveError(f"{path}: reading is not allowed ({cause})")
    return TransientArchiveError(f"{path}: reading broke off ({cause!r})")


def read_bytes(path: str, storage_options: Mapping[str, Any]) -> bytes | None:
    """Return the content of a small file, or None if it does not exist."""
    with _transport(path):
        file_system, inner = url_to_fs(path, **storage_options)
        try:
            content: bytes = file_system.cat_file(inner)
        except FileNotFoundError:
            return None
        return content


def names_in(folder: str, storage_options: Mapping[str, Any]) -> list[str]:
    """Return the names of a folder's entries, sorted.

    Raises
    ------
    DamagedFileError
        If there is no such folder.
    """
    with _transport(folder):
        file_system, inner = url_to_fs(folder, **storage_options)
        entries = file_system.ls(inner, detail=False)
    return sorted(entry.rstrip("/").rpartition("/")[2] for entry in entries)


class CountedFile:
    """A file open for reading that counts the requests made and the bytes they returned.

    Attributes
    ----------
    path : str
    local : bool
        Whether it lies in the local file system.
    requests, bytes : int
    """

    def __init__(self, path: str, storage_options: Mapping[str, Any]) -> None:
        self.path = path
        self.requests = 0
        self.bytes = 0
        with _transport(path):
            file_system, inner = url_to_fs(path, **storage_options)
            # Read-ahead would fetch what the reader has decided to skip.
            self._file = file_system.open(inner, "rb", cache_type="none")
        self.local = isinstance(file_system, LocalFileSystem)

    @property
    def reads(self) -> Reads:
        """The requests made and the bytes they returned."""
        return Reads(self.requests, self.bytes)

    @property
    def closed(self) -> bool:
        """Whether the file is closed."""
        return bool(self._file.closed)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to an offset and return the position."""
        return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        """Return the position."""
        return int(self._file.tell())

    def read(self, size: int = -1) -> bytes:
        """Read from the position on.

        Raises
        ------
        TransientArchiveError
            If the store broke off.
        """
        with _transport(self.path):
            data: bytes = self._file.read(size)
        self.requests += 1
        self.bytes += len(data)
        return data
