"""One Parquet file of a catalogue: its footer, its columns, its key on the sky."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lightloom.catalogs.geometry import FloatArray, IntArray
from lightloom.catalogs.page_limit import CheckedPages, ChunkPages, PageLimit
from lightloom.catalogs.storage import CountedFile
from lightloom.errors import ArchiveSchemaError, DamagedFileError, TransientArchiveError

#: Read at a time and per column: small on disk, where a read costs nothing, large where it costs a
#: round trip.
_LOCAL_BUFFER_BYTES = 1 << 20
_REMOTE_BUFFER_BYTES = 16 << 20

#: Decoded at a time.
_BATCH_BYTES = 16 << 20
_BATCH_ROWS = 1 << 16


#: At both ends of a file; before the last one stands the length of the footer.
_MAGIC = b"PAR1"
_TAIL_BYTES = 4 + len(_MAGIC)


@contextmanager
def decoding(path: str) -> Iterator[None]:
    """Turn pyarrow's complaints about a file into a `DamagedFileError` that names it."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise DamagedFileError(f"{path}: cannot be decoded ({error})") from error


def batches(
    parquet: pq.ParquetFile, row_group: int, leaves: Sequence["Leaf"] | None = None
) -> Iterator[pa.RecordBatch]:
    """Decode a row group, all columns or some of them, a little at a time."""
    group = parquet.metadata.row_group(row_group)
    names = None if leaves is None else [leaf.name for leaf in leaves]
    stored = [group.column(index) for index in range(group.num_columns)]
    size = sum(
        chunk.total_uncompressed_size
        for chunk in stored
        if leaves is None or any(leaf.stored_in(chunk.path_in_schema) for leaf in leaves)
    )
    batch_size = min(max(_BATCH_BYTES * group.num_rows // max(size, 1), 1), _BATCH_ROWS)
    yield from parquet.iter_batches(
        batch_size=batch_size, row_groups=[row_group], columns=names, use_threads=False
    )


def _framed(footer: bytes) -> bytes:
    """Return a file of a footer alone."""
    return b"".join([_MAGIC, footer, len(footer).to_bytes(4, "little"), _MAGIC])


def degrees(positions: pa.Table) -> tuple[FloatArray, FloatArray]:
    """Return the two columns of a table as arrays of float64, null as NaN."""
    ra, dec = (
        pc.cast(column, pa.float64()).to_numpy(zero_copy_only=False) for column in positions.columns
    )
    return ra, dec


@dataclass(frozen=True)
class Leaf:
    """A column as asked for: a top-level column, or a field of a struct column.

    Attributes
    ----------
    name : str
        As asked for: ``column`` or ``struct.field``.
    column : str
        The top-level column.
    field : str
        Field of the struct, else empty.
    type : pyarrow.DataType
    """

    name: str
    column: str
    field: str
    type: pa.DataType

    @property
    def output_name(self) -> str:
        """Name in the result: that of the field, without the struct's."""
        return self.field or self.column

    @property
    def is_list(self) -> bool:
        """Whether a row holds a list of values, one per epoch."""
        return bool(
            pa.types.is_list(self.type)
            or pa.types.is_large_list(self.type)
            or pa.types.is_fixed_size_list(self.type)
        )

    def stored_in(self, path: str) -> bool:
        """Tell whether a column chunk, by its path in the file's schema, is one of its own."""
        prefix = ".".join(filter(None, (self.column, self.field)))
        return f"{path}.".startswith(f"{prefix}.")

    def of(self, batch: pa.RecordBatch) -> pa.Array:
        """Return the values in a batch that holds the top-level column."""
        values = batch.column(self.column)
        return pc.struct_field(values, self.field) if self.field else values


@dataclass(frozen=True)
class Key:
    """A column of HEALPix cells, nested.

    Attributes
    ----------
    column : str
    order : int
        Order of the cells.
    finest_order : int
        Order below which the column's bits say nothing of the position.
    """

    column: str
    order: int
    finest_order: int

    def cells(self, values: pa.Array | pa.ChunkedArray, order: int) -> IntArray:
        """Return the cells of a coarser order that hold the column's; null becomes cell 0."""
        keys = pc.fill_null(values, 0).to_numpy(zero_copy_only=False).astype(np.uint64)
        return (keys >> np.uint64(2 * (self.order - order))).astype(np.int64)


class CatalogFile:
    """A Parquet file, open, its footer read.

    Parameters
    ----------
    path : str
    storage_options : mapping
        Options of the fsspec file system.
    page_mb : float
        Largest page that is unpacked [MB].

    Attributes
    ----------
    footer : bytes
        The metadata as they stand in the file.

    Raises
    ------
    DamagedFileError
        If the file is absent or its footer cannot be decoded.
    TransientArchiveError
        If the store does not answer.
    """

    def __init__(self, path: str, storage_options: Mapping[str, Any], page_mb: float) -> None:
        self.path = path
        self.page_limit = PageLimit(path, page_mb)
        self.source = CountedFile(path, storage_options)
        self._checked = CheckedPages(self.source)
        self._numbers_by_name: dict[str, list[int]] = {}
        buffer_size = _LOCAL_BUFFER_BYTES if self.source.local else _REMOTE_BUFFER_BYTES
        try:
            self.footer = self._read_footer()
            with decoding(path):
                self.parquet = pq.ParquetFile(
                    self._checked,
                    # pyarrow itself reads 64 KiB in search of the footer, more than many pages.
                    metadata=pq.read_metadata(pa.BufferReader(_framed(self.footer))),
                    pre_buffer=False,
                    buffer_size=buffer_size,
                    page_checksum_verification=True,
                )
                self.metadata: pq.FileMetaData = self.parquet.metadata
                self.schema: pa.Schema = self.parquet.schema_arrow
                stored = self.parquet.schema
                self._stored_paths = [stored.column(number).path for number in range(len(stored))]
        except (DamagedFileError, TransientArchiveError):
            self.source.check_unchanged()
            raise
        n_rows = [self.metadata.row_group(g).num_rows for g in range(self.metadata.num_row_groups)]
        self.first_rows: IntArray = np.cumsum([0, *n_rows])

    def _read_footer(self) -> bytes:
        size = self.source.size
        (tail,) = self.source.read_ranges([(max(size - _TAIL_BYTES, 0), size)])
        length = int.from_bytes(tail[: -len(_MAGIC)], "little")
        if tail[-len(_MAGIC) :] != _MAGIC or not 0 < length <= size - _TAIL_BYTES - len(_MAGIC):
            raise DamagedFileError(
                f"{self.path}: cannot be decoded (found {size} bytes without the footer of a"
                " Parquet file at their end)"
            )
        start = size - _TAIL_BYTES - length
        (footer,) = self.source.read_ranges([(start, start + length)])
        return footer

    def __enter__(self) -> "CatalogFile":
        return self

    def __exit__(self, _: object, error: BaseException | None, *__: object) -> None:
        self.parquet.close()
        self.source.close()
        # A file that was replaced may have looked damaged.
        if error is None or isinstance(error, DamagedFileError | TransientArchiveError):
            self.source.check_unchanged()

    def leaf(self, name: str) -> Leaf:
        """Find a column by its name, ``column`` or ``struct.field``.

        Raises
        ------
        ArchiveSchemaError
            If there is none.
        """
        if name in self.schema.names:
            return Leaf(name, name, "", self.schema.field(name).type)
        column, _, field = name.partition(".")
        found: Sequence[str] = self.schema.names
        if field and column in found:
            struct = self.schema.field(column).type
            if not pa.types.is_struct(struct):
                raise ArchiveSchemaError(
                    f"{self.path}: column {column!r} has type {struct}, expected a struct with "
                    f"the field {field!r}"
                )
            found = [struct.field(index).name for index in range(struct.num_fields)]
            if field in found:
                return Leaf(name, column, field, struct.field(field).type)
        raise ArchiveSchemaError(f"{self.path}: column {name!r} is missing, found {sorted(found)}")

    def position_leaf(self, name: str) -> Leaf:
        """Find a column of angles.

        Raises
        ------
        ArchiveSchemaError
            If there is none, or it does not hold floating-point numbers.
        """
        leaf = self.leaf(name)
        if not pa.types.is_floating(leaf.type):
            raise ArchiveSchemaError(
                f"{self.path}: column {name!r} has type {leaf.type}, expected floating point"
            )
        return leaf

    def key(self) -> Key | None:
        """Find the column of HEALPix cells: ``_healpix_<order>`` or ``_hipscat_index``.

        Raises
        ------
        ArchiveSchemaError
            If it does not hold 64-bit integers.
        """
        for name in self.schema.names:
            healpix = re.fullmatch(r"_healpix_(\d+)", name)
            if healpix:
                key = Key(name, int(healpix[1]), int(healpix[1]))
            elif name == "_hipscat_index":
                # A cell of order 19 in the upper 42 bits, a counter in the lower 22.
                key = Key(name, 30, 19)
            else:
                continue
            type_ = self.schema.field(name).type
            if type_ not in (pa.int64(), pa.uint64()):
                raise ArchiveSchemaError(
                    f"{self.path}: column {name!r} has type {type_}, expected int64 or uint64"
                )
            return key
        return None

    def by_row_group(self, rows: IntArray) -> list[tuple[int, IntArray]]:
        """Divide rows, given by ascending numbers, into row groups and number them in each."""
        bounds = np.searchsorted(rows, self.first_rows)
        return [
            (row_group, rows[bounds[row_group] : bounds[row_group + 1]] - first)
            for row_group, first in enumerate(self.first_rows[:-1])
            if bounds[row_group] < bounds[row_group + 1]
        ]

    def batches(self, row_group: int, leaves: Sequence[Leaf]) -> Iterator[pa.RecordBatch]:
        """Decode columns of a row group, a little at a time, as long as their pages are small."""
        self._checked.expect(self._pages(row_group, leaves))
        yield from batches(self.parquet, row_group, leaves)

    def _pages(self, row_group: int, leaves: Sequence[Leaf]) -> list[ChunkPages]:
        return [
            ChunkPages.of(self.page_limit, self.parquet, row_group, number)
            for number in self._stored(leaves)
        ]

    def chunks(self, row_group: int, leaf: Leaf) -> list[pq.ColumnChunkMetaData]:
        """Return the column chunks of a row group that store a column."""
        group = self.metadata.row_group(row_group)
        return [group.column(number) for number in self._stored([leaf])]

    def _stored(self, leaves: Sequence[Leaf]) -> list[int]:
        """Return the numbers of the columns in the file's schema that store some columns."""
        return sorted({number for leaf in leaves for number in self._numbers(leaf)})

    def _numbers(self, leaf: Leaf) -> list[int]:
        if leaf.name not in self._numbers_by_name:
            self._numbers_by_name[leaf.name] = [
                number for number, path in enumerate(self._stored_paths) if leaf.stored_in(path)
            ]
        return self._numbers_by_name[leaf.name]
