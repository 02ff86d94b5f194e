"""How files are written: atomically, and with bytes that depend on their content alone."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from lightloom.schema import conform

#: Rows of a row group: large enough for good compression, small enough to be held in memory.
ROW_GROUP_ROWS = 131_072

#: Bytes of a data page: the page index lets a reader fetch single pages of a row group.
DATA_PAGE_BYTES = 64 * 1024

_COMPRESSION_LEVEL = 3
_HASH_CHUNK_BYTES = 1 << 20


def sha256_bytes(content: bytes) -> str:
    """Return the SHA-256 digest of ``content`` in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def sha256_file(path: Path) -> str:
    """Return the SHA-256 digest of a file in hexadecimal.

    Parameters
    ----------
    path : pathlib.Path
        The file; it is read in pieces, so it may be of any size.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_HASH_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path that becomes ``path`` when the block ends without an error.

    A reader sees the old file or the whole new one, never a part of it. The temporary file has
    a fixed hidden name beside ``path``: what a killed process leaves behind is overwritten by the
    next attempt, and is no part of a Parquet dataset meanwhile. One writer per path is assumed,
    as Snakemake's lock ensures.

    Parameters
    ----------
    path : pathlib.Path
        Where the file shall be; missing parent folders are made.

    Yields
    ------
    pathlib.Path
        Where to write.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        yield temporary
        _flush_to_disk(temporary)
        temporary.replace(path)
        _flush_to_disk(path.parent)
    except BaseException:
        with suppress(FileNotFoundError):
            temporary.unlink()
        raise


def _flush_to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class ParquetSink:
    """Write tables one after the other into one Parquet file, as a context manager.

    The bytes of the file depend on the rows, the schema and the metadata, not on how the rows
    are spread over the tables: they are gathered into row groups of a fixed number of rows. The
    file appears at ``path`` when the block ends without an error.

    Parameters
    ----------
    path : pathlib.Path
        The file to write.
    schema : pyarrow.Schema
        Schema that every table must satisfy; see `lightloom.schema.conform`.
    metadata : mapping of str to str, optional
        Key-value metadata for the footer. It should not hold a time of writing.
    row_group_rows : int, optional
        Rows of each row group but the last.

    Attributes
    ----------
    n_rows : int
        Rows taken so far.
    """

    def __init__(
        self,
        path: Path,
        schema: pa.Schema,
        metadata: Mapping[str, str] | None = None,
        *,
        row_group_rows: int = ROW_GROUP_ROWS,
    ) -> None:
        self.path = path
        self.n_rows = 0
        self._schema = schema
        self._footer = {key: metadata[key] for key in sorted(metadata)} if metadata else None
        self._row_group_rows = row_group_rows
        self._pending: list[pa.Table] = []
        self._n_pending = 0

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            temporary = stack.enter_context(atomic_path(self.path))
            self._writer = stack.enter_context(
                pq.ParquetWriter(
                    temporary,
                    self._schema.with_metadata(self._footer),
                    version="2.6",
                    compression="zstd",
                    compression_level=_COMPRESSION_LEVEL,
                    data_page_size=DATA_PAGE_BYTES,
                    use_dictionary=True,
                    write_page_index=True,
                )
            )
            stack.push(self._write_last_group)
            self._resources = stack.pop_all()
        return self

    def write(self, table: pa.Table) -> None:
        """Take the rows of ``table``.

        Raises
        ------
        ResultError
            If the table does not satisfy the schema.
        """
        table = conform(table, self._schema, str(self.path))
        self.n_rows += table.num_rows
        self._pending.append(table)
        self._n_pending += table.num_rows
        if self._n_pending >= self._row_group_rows:
            self._write_pending(whole_groups_only=True)

    def write_row_group(self, table: pa.Table) -> None:
        """Write ``table`` as a row group of its own, for rows of very unequal size.

        Raises
        ------
        ResultError
            If the table does not satisfy the schema.
        """
        if self._n_pending:
            self._write_pending(whole_groups_only=False)
        table = conform(table, self._schema, str(self.path))
        self.n_rows += table.num_rows
        self._writer.write_table(table.combine_chunks(), row_group_size=table.num_rows)

    def _write_pending(self, *, whole_groups_only: bool) -> None:
        rows = pa.concat_tables(self._pending)
        stop = rows.num_rows
        if whole_groups_only:
            stop -= stop % self._row_group_rows
        for start in range(0, stop, self._row_group_rows):
            # Page borders follow chunk borders: with one chunk they depend on the rows alone.
            group = rows.slice(start, min(self._row_group_rows, stop - start)).combine_chunks()
            self._writer.write_table(group, row_group_size=self._row_group_rows)
        self._pending = [rows.slice(stop)]
        self._n_pending = rows.num_rows - stop

    def _write_last_group(self, error_type: type[BaseException] | None, *_: object) -> None:
        if error_type is None and self._n_pending:
            self._write_pending(whole_groups_only=False)

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._resources.__exit__(error_type, error, traceback)


def write_table(
    path: Path,
    table: pa.Table,
    schema: pa.Schema,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write one table that is in memory; see `ParquetSink`."""
    with ParquetSink(path, schema, metadata) as sink:
        sink.write(table)


def json_bytes(content: Any) -> bytes:
    """Return ``content`` as indented JSON with sorted keys and a final newline, in UTF-8."""
    text = json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return f"{text}\n".encode()


def write_json(path: Path, content: Any) -> None:
    """Write ``content`` as `json_bytes` gives it, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(json_bytes(content))


def write_if_changed(path: Path, content: bytes) -> bool:
    """Write ``content`` unless the file holds it already, so that its mtime tells of changes.

    Returns
    -------
    bool
        Whether the file was written.
    """
    if path.is_file() and path.read_bytes() == content:
        return False
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
    return True
