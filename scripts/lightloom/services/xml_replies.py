"""XML documents of services are data: one that could do harm is not read.

Entities can make gigabytes of a few bytes, or name files of this machine; neither VOTable nor the
documents of TAP (VOSI, UWS) have any. A reference to a document type is passed over: old VOTables
have one, and no reader opens what it names. Rows that a VOTable announces are given memory before
they are read.
"""

import os
import re
from typing import IO
from xml.parsers import expat

_CHUNK_BYTES = 1 << 20
#: Longest announcement of rows that is recognised [bytes].
_OVERLAP_BYTES = 64

#: What may stand before the first ``<``: space and the byte order marks, in all encodings.
_BEFORE_XML = b" \t\r\n\x00\xef\xbb\xbf\xfe\xff"

#: The attribute ``nrows`` of a table (VOTable 1.4, section 4.1), in any encoding.
_N_ROWS = re.compile(rb"n\0?r\0?o\0?w\0?s\0?\s*\0?=\0?\s*\0?[\"']\0?\s*\0?((?:\d\0?)+)")


class _EntityError(Exception):
    """An entity is declared."""


class _ContentError(Exception):
    """The first element begins: no entity can be declared any more."""


def harm_in(body: IO[bytes]) -> str:
    """Say what harm the readers of an XML document could come to.

    Parameters
    ----------
    body : binary file
        Read, and set back to its begin. Anything else than XML does no harm, nor does what is
        damaged before its first element: its reader will say so.

    Returns
    -------
    str
        Such as ``an XML document that declares entities``; empty if it can be read.
    """
    try:
        if not body.read(_CHUNK_BYTES).lstrip(_BEFORE_XML).startswith(b"<"):
            return ""
        if _declares_entities(body):
            return "an XML document that declares entities"
        n_bytes = body.seek(0, os.SEEK_END)
        if _most_rows(body) > n_bytes:
            return f"a VOTable that announces {_most_rows(body)} rows in {n_bytes} bytes"
        return ""
    finally:
        body.seek(0)


def _declares_entities(body: IO[bytes]) -> bool:
    parser = expat.ParserCreate()
    parser.EntityDeclHandler = _found_entity
    parser.StartElementHandler = _found_content
    body.seek(0)
    try:
        while chunk := body.read(_CHUNK_BYTES):
            parser.Parse(chunk, False)
    except _EntityError:
        return True
    except (_ContentError, expat.ExpatError):
        return False
    return False


def _found_entity(*_: object) -> None:
    raise _EntityError


def _found_content(*_: object) -> None:
    raise _ContentError


def _most_rows(body: IO[bytes]) -> int:
    most, end = 0, b""
    body.seek(0)
    while chunk := body.read(_CHUNK_BYTES):
        for digits in _N_ROWS.findall(end + chunk):
            # More digits than that are not read as a number.
            most = max(most, int(digits.replace(b"\0", b"")[:30]))
        end = chunk[-_OVERLAP_BYTES:]
    return most
