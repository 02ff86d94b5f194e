"""Where the pages of a Parquet file lie, from its own offset indexes or page headers.

pyarrow does not tell; the structures are few, and Thrift's compact protocol is simple
(https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md,
https://github.com/apache/parquet-format).
"""

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

_FOOTER_TAIL_BYTES = 8
_DICTIONARY_PAGE = 2

# Types of the compact protocol.
_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _STRUCT = 1, 2, 3, 7, 8, 9, 10, 12
_INTEGERS = (4, 5, 6)


class _Compact:
    """Decodes structures to dicts from field number to value."""

    def __init__(self, buffer: Any, position: int) -> None:
        self._buffer = buffer
        self.position = position

    def structure(self) -> dict[int, Any]:
        fields: dict[int, Any] = {}
        number = 0
        while header := self._byte():
            number = number + (header >> 4) if header >> 4 else self._zigzag()
            fields[number] = self._value(header & 15)
        return fields

    def _value(self, kind: int) -> Any:
        if kind in (_TRUE, _FALSE):
            return kind == _TRUE
        if kind == _BYTE:
            return self._byte()
        if kind in _INTEGERS:
            return self._zigzag()
        if kind == _DOUBLE:
            return struct.unpack("<d", self._take(8))[0]
        if kind == _BINARY:
            return self._take(self._varint())
        if kind in (_LIST, _SET):
            return self._elements()
        if kind == _STRUCT:
            return self.structure()
        raise ValueError(f"compact protocol: found type {kind} at byte {self.position}")

    def _elements(self) -> list[Any]:
        header = self._byte()
        size = header >> 4 if header >> 4 != 15 else self._varint()
        kind = header & 15
        if kind in (_TRUE, _FALSE):
            return [self._byte() == _TRUE for _ in range(size)]
        return [self._value(kind) for _ in range(size)]

    def _byte(self) -> int:
        self.position += 1
        return int(self._buffer[self.position - 1])

    def _take(self, size: int) -> bytes:
        self.position += size
        return bytes(self._buffer[self.position - size : self.position])

    def _varint(self) -> int:
        result = shift = 0
        while True:
            byte = self._byte()
            result |= (byte & 127) << shift
            if byte < 128:
                return result
            shift += 7

    def _zigzag(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)


@dataclass(frozen=True)
class ColumnPages:
    """The data pages of a column chunk.

    Attributes
    ----------
    is_indexed : bool
        Whether pages can be addressed by an offset index; else a page is found only by going
        through the headers of those before it.
    first : ndarray of int64, shape (n_pages + 1,)
        Number of the first row of each page, or of its first value if there is no index, and the
        number after the last.
    sizes : ndarray of int64, shape (n_pages,)
        Bytes of the pages with their headers.
    dictionary_bytes, index_bytes : int
        Bytes of the dictionary page and of the indexes.
    """

    is_indexed: bool
    first: NDArray[np.int64]
    sizes: NDArray[np.int64]
    dictionary_bytes: int
    index_bytes: int

    def holding(self, wanted: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the numbers of the pages that hold rows (without an index, values)."""
        return np.unique(np.searchsorted(self.first, wanted, side="right") - 1)

    def bytes_of(self, pages: NDArray[np.int64]) -> int:
        """Return the fewest bytes with which pages can be read, without the indexes."""
        if not len(pages):
            return 0
        if not self.is_indexed:
            pages = np.arange(pages[-1] + 1)
        return self.dictionary_bytes + int(self.sizes[pages].sum())


class ParquetPages:
    """Finds the pages of the columns of one file, as a context manager.

    Attributes
    ----------
    footer_bytes : int
        Bytes of the footer with its length and mark.
    row_group_rows : list of int
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._buffer = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        end = len(self._buffer) - _FOOTER_TAIL_BYTES
        (size,) = struct.unpack("<I", self._buffer[end : end + 4])
        self.footer_bytes = size + _FOOTER_TAIL_BYTES
        self._row_groups = _Compact(self._buffer, end - size).structure()[4]
        self.row_group_rows = [int(group[3]) for group in self._row_groups]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._buffer.close()
        self._file.close()

    def chunk(self, row_group: int, column: str) -> ColumnPages:
        """Find the pages of a column, ``column`` or ``struct.field``, that is stored in one chunk.

        Raises
        ------
        KeyError
            If there is no such column.
        """
        for chunk in self._row_groups[row_group][1]:
            path = b".".join(chunk[3][3]).decode()
            if f"{path}.".startswith(f"{column}."):
                return self._pages(chunk, self.row_group_rows[row_group])
        raise KeyError(column)

    def _pages(self, chunk: dict[int, Any], n_rows: int) -> ColumnPages:
        metadata = chunk[3]
        headers = list(self._headers(metadata))
        dictionary_bytes = sum(size for kind, _, size in headers if kind == _DICTIONARY_PAGE)
        data = [(values, size) for kind, values, size in headers if kind != _DICTIONARY_PAGE]
        sizes = np.array([size for _, size in data], np.int64)
        if 4 in chunk:
            locations = _Compact(self._buffer, chunk[4]).structure()[1]
            first = np.array([*(location[3] for location in locations), n_rows], np.int64)
            return ColumnPages(True, first, sizes, dictionary_bytes, chunk[5] + chunk.get(7, 0))
        first = np.cumsum([0, *(values for values, _ in data)], dtype=np.int64)
        return ColumnPages(False, first, sizes, dictionary_bytes, 0)

    def _headers(self, metadata: dict[int, Any]) -> Iterator[tuple[int, int, int]]:
        """Yield type, number of values and bytes (with the header) of the pages of a chunk."""
        start = min(metadata[9], metadata.get(11, metadata[9]))
        position = start
        while position < start + metadata[7]:
            reader = _Compact(self._buffer, position)
            header = reader.structure()
            size = reader.position - position + header[3]
            details = header.get(5) or header.get(8) or header[7]
            yield header[1], details[1], size
            position += size
