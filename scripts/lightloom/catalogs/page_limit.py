"""The pages of a Parquet file before they are unpacked: a few bytes can become gigabytes.

A page says in its header how large it is unpacked, and pyarrow gives it as much memory, no less and
no more. So the headers are looked at first, on the way from the file to whoever decodes it.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol, Self

import pyarrow.parquet as pq

from lightloom.catalogs.parquet_format import CutOffError, PageHeader, read_struct
from lightloom.errors import ArchiveError, DamagedFileError

#: Largest page that is unpacked, where nothing else is said [MB]: writers make pages of about 1 MB.
DEFAULT_PAGE_MB = 256.0

#: What a value takes at the most, but for texts, which are no longer than their page.
_VALUE_BYTES = 8


class PageLimit(NamedTuple):
    """How large a page may be.

    Attributes
    ----------
    path : str
        The file, for messages.
    page_mb : float
        Largest page, unpacked [MB].
    advice : str
        What to do about a larger one.
    """

    path: str
    page_mb: float
    advice: str = (
        "as limits.page_mb says; if the file is sound, raise limits.page_mb, and limits.mem_mb"
        " with it"
    )

    def check(self, column: str, sizes: "PageSizes", *, is_list: bool) -> None:
        """Refuse a page that is too large.

        Parameters
        ----------
        column : str
            Its path in the schema of the file.
        sizes : PageSizes
        is_list : bool
            Whether a row has many values, which are decoded together.

        Raises
        ------
        ArchiveError
        """
        needed_bytes = max(sizes.unpacked_bytes, sizes.n_values * _VALUE_BYTES if is_list else 0)
        if needed_bytes > self.page_mb * 1e6:
            raise ArchiveError(
                f"{self.path}: found a page of {needed_bytes / 1e6:.3g} MB, unpacked, in column"
                f" {column!r} ({sizes.stored_bytes} bytes in the file), expected at most"
                f" {self.page_mb:g} MB, {self.advice}"
            )


class PageSizes(NamedTuple):
    """What the header of a page says of it.

    Attributes
    ----------
    unpacked_bytes, stored_bytes : int
        Length of the page without its header.
    n_values : int
        Of a page of data; 0 of a dictionary.
    """

    unpacked_bytes: int
    stored_bytes: int
    n_values: int

    @classmethod
    def of(cls, header: PageHeader) -> Self:
        """Read a header.

        Raises
        ------
        ValueError
            If it lacks a size, or one is negative.
        """
        of_data = (header.data_page_header, header.data_page_header_v2)
        counts = [one.num_values for one in of_data if one is not None]
        sizes = [header.uncompressed_page_size, header.compressed_page_size, *counts]
        if None in sizes:
            raise ValueError("a header without a size")
        if min(sizes) < 0:
            raise ValueError("a negative size")
        return cls(header.uncompressed_page_size, header.compressed_page_size, sum(counts))


class ChunkPages:
    """The pages of a column chunk, whose headers are checked one after the other.

    Parameters
    ----------
    limit : PageLimit
    column : str
        Its path in the schema of the file.
    start, end : int
        Range of the chunk in the file.
    unpacked_bytes : int
        What all pages together take unpacked, by the account of the footer.
    is_list : bool
        Whether a row has many values, which are decoded together.
    """

    def __init__(
        self,
        limit: PageLimit,
        column: str,
        start: int,
        end: int,
        unpacked_bytes: int,
        *,
        is_list: bool,
    ) -> None:
        self._limit = limit
        self._column = column
        self.start = start
        self.end = end
        self._unpacked_bytes = unpacked_bytes
        self._is_list = is_list
        self._restart()

    @classmethod
    def of(cls, limit: PageLimit, parquet: pq.ParquetFile, row_group: int, column: int) -> Self:
        """Return the pages of a column, given by its number, in a row group."""
        chunk = parquet.metadata.row_group(row_group).column(column)
        starts = [chunk.data_page_offset]
        if chunk.has_dictionary_page:
            starts.append(chunk.dictionary_page_offset)
        return cls(
            limit,
            chunk.path_in_schema,
            min(starts),
            min(starts) + chunk.total_compressed_size,
            chunk.total_uncompressed_size,
            is_list=parquet.schema.column(column).max_repetition_level > 0,
        )

    def _restart(self) -> None:
        self._position = self._next_header = self.start
        self._begun = b""
        self._found_bytes = 0

    def check(self, position: int, content: bytes) -> None:
        """Check the pages whose headers end in a piece of the chunk.

        Parameters
        ----------
        position : int
            Where the piece begins in the file: after the one before it, or at the start again.
        content : bytes
            The piece; what is behind the end of the chunk does not count.

        Raises
        ------
        ArchiveError
            If a page is too large.
        DamagedFileError
            If there is no page, or the footer tells of smaller ones.
        """
        if position == self.start:
            self._restart()
        if position != self._position:
            raise DamagedFileError(
                f"{self._limit.path}: found bytes from {position} on in column {self._column!r},"
                f" expected those from {self._position} on: its chunk is within another one"
            )
        content = content[: self.end - position]
        self._position += len(content)
        if self._begun:
            content = self._begun + content
            position -= len(self._begun)
            self._begun = b""
        while self._next_header < self._position:
            at = self._next_header - position
            try:
                header, behind = read_struct(PageHeader, content, at)
            except CutOffError:
                if self._position == self.end:
                    raise self._damaged("a header that is cut off") from None
                self._begun = content[at:]
                return
            except ValueError as error:
                raise self._damaged(str(error)) from error
            self._next_header = position + behind + self._stored_bytes(header)

    def _stored_bytes(self, header: PageHeader) -> int:
        """Check the header of a page, and return how many bytes follow it."""
        try:
            sizes = PageSizes.of(header)
        except ValueError as error:
            raise self._damaged(str(error)) from error
        self._limit.check(self._column, sizes, is_list=self._is_list)
        self._found_bytes += sizes.unpacked_bytes
        if self._found_bytes > self._unpacked_bytes:
            raise DamagedFileError(
                f"{self._limit.path}: found pages of at least {self._found_bytes} bytes, unpacked,"
                f" in column {self._column!r}, expected {self._unpacked_bytes} as its footer says"
            )
        return sizes.stored_bytes

    def _damaged(self, found: str) -> DamagedFileError:
        return DamagedFileError(
            f"{self._limit.path}: cannot be decoded (found {found} in column {self._column!r},"
            f" expected a page at {self._next_header})"
        )


class BinaryFile(Protocol):
    """What pyarrow needs of a file."""

    @property
    def closed(self) -> bool:
        """Whether it is closed."""

    def read(self, size: int = -1) -> bytes:
        """Read from the position on."""

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move to an offset and return the position."""

    def tell(self) -> int:
        """Return the position."""

    def close(self) -> None:
        """Let go of it."""


class CheckedPages:
    """A binary file, the pages in which are checked while pyarrow reads them.

    Parameters
    ----------
    source : binary file
    """

    def __init__(self, source: BinaryFile) -> None:
        self._source = source
        self._chunks: list[ChunkPages] = []
        self.seek = source.seek
        self.tell = source.tell
        self.close = source.close

    @property
    def closed(self) -> bool:
        """Whether the file is closed."""
        return self._source.closed

    def expect(self, chunks: Sequence[ChunkPages]) -> None:
        """Say which column chunks are going to be read, each from its start on."""
        self._chunks = list(chunks)

    def read(self, size: int = -1) -> bytes:
        """Read from the position on.

        Raises
        ------
        ArchiveError, DamagedFileError
            As `ChunkPages.check` does.
        """
        position = self._source.tell()
        content = self._source.read(size)
        within = [chunk for chunk in self._chunks if chunk.start <= position < chunk.end]
        for chunk in within:
            chunk.check(position, content)
        return content
