"""Replies that would harm a client that trusts what it reads (`reply` of a fault rule)."""

import gzip
import itertools
import json
from collections.abc import AsyncIterator, Callable

from starlette.responses import RedirectResponse, Response, StreamingResponse

#: What a client with a limit has to break off: larger than any that a test sets [bytes].
_LARGE = 64 << 20
_PIECE = b" " * (1 << 16)

_XML = '<?xml version="1.0" encoding="utf-8"?>\n'
_VOTABLE = (
    '<VOTABLE version="1.4" xmlns="http://www.ivoa.net/xml/VOTable/v1.3"><RESOURCE type="results">'
    '<INFO name="QUERY_STATUS" value="OK"/><TABLE{rows}><FIELD name="n" datatype="char"'
    ' arraysize="*"/><DATA><TABLEDATA><TR><TD>{cell}</TD></TR></TABLEDATA></DATA></TABLE>'
    "</RESOURCE></VOTABLE>"
)


def _entities() -> Response:
    """A few bytes that become 10^9."""
    names = "abcdefghij"
    declared = "".join(
        f'<!ENTITY {name} "{f"&{inner};" * 10}">' for inner, name in itertools.pairwise(names)
    )
    head = f'{_XML}<!DOCTYPE VOTABLE [<!ENTITY a "lol">{declared}]>'
    return _xml(head + _VOTABLE.format(rows="", cell="&j;"))


def _external_entity() -> Response:
    head = f'{_XML}<!DOCTYPE VOTABLE [<!ENTITY file SYSTEM "file:///etc/passwd">]>'
    return _xml(head + _VOTABLE.format(rows="", cell="&file;"))


def _rows() -> Response:
    return _xml(_XML + _VOTABLE.format(rows=' nrows="4000000000"', cell="1"))


def _nested_xml() -> Response:
    return _xml(_XML + "<VOTABLE>" + "<RESOURCE>" * 100_000)


def _xml(document: str) -> Response:
    return Response(document, media_type="application/x-votable+xml")


def _packed() -> Response:
    content = gzip.compress(b" " * _LARGE)
    return Response(content, headers={"Content-Encoding": "gzip"}, media_type="text/xml")


def _endless() -> Response:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(_LARGE // len(_PIECE)):
            yield _PIECE

    return StreamingResponse(pieces(), media_type="application/json")


def _nested_json() -> Response:
    return Response("[" * 200_000, media_type="application/json")


def _long_number() -> Response:
    return Response(f'{{"status": {"1" * 5000}}}', media_type="application/json")


def _negative_counts() -> Response:
    paging = {"pagesFiltered": 2, "rowsFiltered": -5}
    document = {"status": "COMPLETE", "fields": [], "data": [], "paging": paging, "info": [{}]}
    return Response(json.dumps(document), media_type="application/json")


def _other_shapes() -> Response:
    document = {"status": "COMPLETE", "fields": 7, "data": {"a": 1}, "paging": [], "info": ["x"]}
    return Response(json.dumps(document), media_type="application/json")


#: By their name in a rule.
REPLIES: dict[str, Callable[[], Response]] = {
    "entities": _entities,
    "external_entity": _external_entity,
    "rows": _rows,
    "nested_xml": _nested_xml,
    "packed": _packed,
    "endless": _endless,
    "nested_json": _nested_json,
    "long_number": _long_number,
    "negative_counts": _negative_counts,
    "other_shapes": _other_shapes,
    "to_a_file": lambda: RedirectResponse("file:///etc/passwd"),
    "to_no_address": lambda: RedirectResponse("http://["),
}
