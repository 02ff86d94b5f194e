"""Files of a catalogue, on disk or in an object store, with an account of what is read."""

import os
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from lightloom.catalogs.store_errors import archive_error
from lightloom.errors import ArchiveError, TransientArchiveError
from lightloom.reads import Reads

Range = tuple[int, int]
_T = TypeVar("_T")

#: A broken request is repeated at once [s]; what lasts longer is the business of whoever searches.
_RETRYING = Retrying(
    stop=stop_after_attempt(4),
    wait=wait_exponential(multiplier=0.1),
    retry=retry_if_exception_type(TransientArchiveError),
    reraise=True,
)

#: Ranges with a smaller gap between them are read as one: less than a round trip would take.
_GAP_BYTES = 512 << 10
#: A longer run of ranges is read by several requests, at the same time.
_RUN_BYTES = 8 << 20
_REQUESTS_IN_FLIGHT = 16

#: Read when a remote file is opened: the footer, as a rule, and the page index before it. If little
#: stands before them the file is read whole.
_TAIL_BYTES = 128 << 10

#: What file systems tell of a file that differs once its content does.
_VERSION = (
    "size", "ETag", "LastModified", "Last-Modified", "VersionId", "Content-MD5", "Digest", "mtime",
)  # fmt: skip


def read_bytes(path: str, storage_options: Mapping[str, Any]) -> bytes | None:
    """Return the content of a small file, or None if it does not exist."""

    def read() -> bytes | None:
        file_system, inner = url_to_fs(path, **storage_options)
        try:
            content: bytes = file_system.cat_file(inner)
        except FileNotFoundError:
            return None
        return content

    return transported(path, storage_options, read)


def file_version(path: str, storage_options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the store tells of a file that differs once its content does, JSON-able.

    Returns
    -------
    dict
        Such as its size and ETag, perhaps nothing.
    """

    def version() -> dict[str, Any]:
        file_system, inner = url_to_fs(path, **storage_options)
        file_system.invalidate_cache()
        return version_in(file_system.info(inner))

    return transported(path, storage_options, version)


def version_in(info: Mapping[str, Any]) -> dict[str, Any]:
    """Return what differs once a file's content does, of what its file system tells of it."""
    told = {name: info[name] for name in _VERSION if info.get(name) is not None}
    return {name: value if name == "size" else str(value) for name, value in told.items()}


def names_in(folder: str, storage_options: Mapping[str, Any]) -> list[str]:
    """Return the names of a folder's entries, sorted.

    Raises
    ------
    DamagedFileError
        If there is no such folder.
    """

    def names() -> list[str]:
        file_system, inner = url_to_fs(folder, **storage_options)
        entries: list[str] = file_system.ls(inner, detail=False)
        return entries

    found = transported(folder, storage_options, names)
    return sorted(entry.rstrip("/").rpartition("/")[2] for entry in found)


def transported(path: str, storage_options: Mapping[str, Any], request: Callable[[], _T]) -> _T:
    """Make a request, more than once if it breaks off.

    Parameters
    ----------
    path : str
        What is asked for, for messages.
    storage_options : mapping
        Options of the fsspec file system.
    request : callable
        May raise whatever the file system raises.

    Raises
    ------
    ArchiveError
        Which file the failure belongs to and, by its class, whether it may pass.
    """

    def attempt() -> _T:
        try:
            return request()
        # Every transport library has exceptions of its own, without a common class.
        except Exception as error:
            raise archive_error(path, storage_options, error) from error

    return _RETRYING(attempt)


class CountedFile:
    """A file read by ranges, which counts the requests made and the bytes they returned.

    It can be read as a binary file too, without read-ahead, which would fetch what the reader has
    decided to skip.

    Parameters
    ----------
    path : str
    storage_options : mapping
        Options of the fsspec file system.

    Attributes
    ----------
    path : str
    local : bool
        Whether it lies in the local file system.
    size : int
    requests, bytes : int
        Of a remote file requests for its version count too.
    """

    def __init__(self, path: str, storage_options: Mapping[str, Any]) -> None:
        self.path = path
        self.requests = 0
        self.bytes = 0
        self.closed = False
        self._position = 0
        self._storage_options = storage_options
        self._file_system, self._inner = self._transported(
            lambda: url_to_fs(path, **storage_options)
        )
        self.local = isinstance(self._file_system, LocalFileSystem)
        self._version = self._current_version()
        self.size: int = self._version["size"]
        self._tail_start, self._tail = self.size, b""
        if not self.local and self.size:
            start = self.size - _TAIL_BYTES
            if start <= _GAP_BYTES:
                start = 0
            (self._tail,) = self.read_ranges([(start, self.size)])
            self._tail_start = start

    @property
    def reads(self) -> Reads:
        """The requests made and the bytes they returned."""
        return Reads(self.requests, self.bytes)

    def close(self) -> None:
        """Let go of what has been read."""
        self.closed = True
        self._tail_start, self._tail = self.size, b""

    def check_unchanged(self) -> None:
        """Compare the file with what it was when it was opened.

        Raises
        ------
        ArchiveError
            If it has been replaced: what has been read may be of either version.
        """
        now = self._current_version()
        changed = [name for name, value in self._version.items() if now.get(name) != value]
        if changed:
            found, expected = (
                ", ".join(f"{name} {version.get(name)}" for name in changed)
                for version in (now, self._version)
            )
            raise ArchiveError(
                f"{self.path}: changed while it was read, found {found}, expected {expected}"
            )

    def read_ranges(self, ranges: Sequence[Range]) -> list[bytes]:
        """Return the bytes of several ranges, those of a remote file read at the same time.

        Parameters
        ----------
        ranges : sequence of (int, int)
            Start and end of each; in any order, also overlapping.

        Raises
        ------
        TransientArchiveError
            If the store broke off, or answered with another number of bytes, again and again.
        """
        missing = [(start, end) for start, end in ranges if start < min(end, self._tail_start)]
        runs = _runs(missing, 0 if self.local else _GAP_BYTES)
        contents = [*self._read_runs(runs), self._tail]
        starts = [*(start for start, _ in runs), self._tail_start]
        found = []
        for start, end in ranges:
            number = bisect_right(starts, start) - 1
            offset = starts[number]
            found.append(contents[number][start - offset : end - offset] if start < end else b"")
        return found

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to an offset and return the position."""
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}[whence]
        self._position = origin + offset
        return self._position

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def read(self, size: int = -1) -> bytes:
        """Read from the position on.

        Raises
        ------
        TransientArchiveError
            If the store broke off.
        """
        end = self.size if size < 0 else min(self._position + size, self.size)
        start, self._position = self._position, max(self._position, end)
        starts = range(start, end, _RUN_BYTES)
        return b"".join(self.read_ranges([(at, min(at + _RUN_BYTES, end)) for at in starts]))

    def _current_version(self) -> dict[str, Any]:
        def info() -> dict[str, Any]:
            self._file_system.invalidate_cache(self._inner)
            self.requests += not self.local
            found: dict[str, Any] = self._file_system.info(self._inner)
            return found

        found = self._transported(info)
        if not isinstance(found.get("size"), int):
            raise ArchiveError(f"{self.path}: the store does not tell how large the file is")
        return {name: found[name] for name in _VERSION if name in found}

    def _transported(self, request: Callable[[], _T]) -> _T:
        return transported(self.path, self._storage_options, request)

    def _read_runs(self, runs: Sequence[Range]) -> list[bytes]:
        contents: dict[Range, bytes] = {}

        def read_missing() -> None:
            missing = [run for run in runs if run not in contents]
            answers = self._on_disk(missing) if self.local else self._in_store(missing)
            failures = []
            for (start, end), answer in zip(missing, answers, strict=True):
                if isinstance(answer, BaseException):
                    failures.append(answer)
                    continue
                self.bytes += len(answer)
                if len(answer) == end - start:
                    contents[start, end] = answer
                else:
                    failures.append(
                        OSError(f"{len(answer)} bytes came for the range {start} to {end}")
                    )
            if failures:
                raise failures[0]

        if runs:
            self._transported(read_missing)
        return [contents[run] for run in runs]

    def _on_disk(self, runs: Sequence[Range]) -> list[bytes]:
        # fsspec would open the file for each range.
        self.requests += 1
        descriptor = os.open(self._inner, os.O_RDONLY)
        try:
            return [os.pread(descriptor, end - start, start) for start, end in runs]
        finally:
            os.close(descriptor)

    def _in_store(self, runs: Sequence[Range]) -> list[bytes | BaseException]:
        self.requests += len(runs)
        # Only file systems that can have several requests in flight know the option.
        limit = {"batch_size": _REQUESTS_IN_FLIGHT} if self._file_system.async_impl else {}
        answers: list[bytes | BaseException] = self._file_system.cat_ranges(
            [self._inner] * len(runs),
            [start for start, _ in runs],
            [end for _, end in runs],
            on_error="return",
            **limit,
        )
        return answers


def _runs(ranges: Iterable[Range], gap_bytes: int) -> list[Range]:
    """Join ranges with small gaps between them, up to a length that one request should have."""
    runs: list[Range] = []
    for start, end in sorted(ranges):
        if runs:
            run_start, run_end = runs[-1]
            joined = max(end, run_end)
            # A range that begins in a run belongs to it however long it gets.
            if start < run_end or (
                start <= run_end + gap_bytes and joined - run_start <= _RUN_BYTES
            ):
                runs[-1] = (run_start, joined)
                continue
        runs.append((start, end))
    return runs
