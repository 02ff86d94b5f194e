"""Tables of targets that are packed, unpacked up to a size: a few bytes can become gigabytes."""

import bz2
import gzip
import lzma
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from lightloom.errors import SampleError

#: Largest table, unpacked [bytes]: ten million targets with ten numbers each have 800 MB. A file
#: that is not packed may be larger, as whoever has it has the room for it.
MOST_UNPACKED_BYTES = 1_000_000_000

_CHUNK_BYTES = 1 << 20
#: Kept in memory while it is unpacked, a larger one on disk.
_SPOOL_BYTES = 64 << 20


def _only_member(file: IO[bytes]) -> Any:
    """Open the file in a ZIP archive."""
    archive = zipfile.ZipFile(file)
    names = archive.namelist()
    if len(names) != 1:
        raise OSError(f"found {len(names)} files in a ZIP archive, expected one")
    return archive.open(names[0])


#: How packed files begin, and what opens them.
_OPENERS: dict[bytes, Callable[[IO[bytes]], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\0": lzma.open,
    b"PK\x03\x04": _only_member,
}
#: What these raise where a file is damaged; the last two are of a ZIP that is encrypted, or packed
#: in an unknown way.
_DAMAGES = (EOFError, lzma.LZMAError, zipfile.BadZipFile, NotImplementedError, RuntimeError)


@contextmanager
def opened(path: str, file: Path) -> Iterator[IO[bytes]]:
    """Open a file for the block, unpacked if it is packed with gzip, bzip2, xz or ZIP.

    Parameters
    ----------
    path : str
        Name of the table for messages.
    file : pathlib.Path

    Raises
    ------
    SampleError
        If it is larger than ``MOST_UNPACKED_BYTES``, unpacked.
    OSError
        If it is damaged.
    """
    with file.open("rb") as packed:
        begin = packed.read(8)
        packed.seek(0)
        openers = [opener for magic, opener in _OPENERS.items() if begin.startswith(magic)]
        if not openers:
            yield packed
            return
        # Of a type that no library takes for a file on disk, which might be packed again.
        with tempfile.SpooledTemporaryFile(max_size=_SPOOL_BYTES) as body:
            try:
                with openers[0](packed) as content:
                    _copy(path, content, body)
            except _DAMAGES as error:
                raise OSError(str(error)) from error
            body.seek(0)
            yield body


def _copy(path: str, content: IO[bytes], body: IO[bytes]) -> None:
    while chunk := content.read(_CHUNK_BYTES):
        body.write(chunk)
        if body.tell() > MOST_UNPACKED_BYTES:
            raise SampleError(
                f"{path}: found a packed file of more than {MOST_UNPACKED_BYTES / 1e6:.0f} MB,"
                " unpacked, expected a table of targets; if it is one, unpack it first"
            )
