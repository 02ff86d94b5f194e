"""The compact Thrift protocol, in which the metadata of Parquet files are written.

pyarrow does not tell where the pages of a column lie; the footer and the page index do. Structs are
read without knowing their definition, so that they can be written again as they were.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lightloom.catalogs.geometry import IntArray

#: Types of values in the compact protocol.
TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = range(1, 13)

#: Fields of a struct by their number, each with its type. A list is its element type and elements.
Struct = dict[int, tuple[int, Any]]


class CutOffError(ValueError):
    """A struct is not whole."""


def value(struct: Struct, field: int) -> Any:
    """Return the value of a field."""
    return struct[field][1]


def elements(struct: Struct, field: int) -> list[Any]:
    """Return the elements of a field that is a list."""
    found: list[Any] = struct[field][1][1]
    return found


def read_struct(content: bytes, start: int = 0) -> tuple[Struct, int]:
    """Decode the struct that begins at an offset, and return it with the offset of its end.

    Raises
    ------
    CutOffError
        If there is the begin of a struct.
    ValueError
        If there is no struct.
    """
    reader = _Reader(content, start)
    try:
        return reader.struct(), reader.position
    except IndexError as error:
        raise CutOffError("a Thrift struct is cut off") from error
    except RecursionError as error:
        raise ValueError("Thrift structs lie too deep in each other") from error


def read_columns(content: bytes, field: int, members: Sequence[int]) -> list[IntArray]:
    """Decode a list of structs of integers, the first field of a struct, as columns.

    The page index has a struct for each page of a column, thousands in a large file. Where all have
    the same fields they are decoded together.

    Parameters
    ----------
    content : bytes
    field : int
        The field with the list.
    members : sequence of int
        Fields of the structs in the list, ascending.

    Returns
    -------
    list of numpy.ndarray of int64
        The values of each of the members.

    Raises
    ------
    CutOffError
        If there is the begin of a struct.
    KeyError
        If there is no such field, or a struct in the list lacks a member.
    ValueError
        If there is no struct, or an integer has more than 64 bits.
    """
    table = _uniform_rows(content, field, members)
    if table is None:
        rows = elements(read_struct(content)[0], field)
        try:
            table = np.array([[value(row, m) for m in members] for row in rows], np.int64)
        except OverflowError as error:
            raise ValueError("an integer of more than 64 bits") from error
    return list(table.reshape(-1, len(members)).T)


def _uniform_rows(content: bytes, field: int, members: Sequence[int]) -> IntArray | None:
    """Decode structs that all have the same members and no others, or return None.

    Their encoding is made of variable-length integers alone: for each member a header of one byte
    and the value, and a zero behind the last one.
    """
    if not content or content[0] != field << 4 | LIST:
        return None
    reader = _Reader(content, 1)
    try:
        n_rows, type_ = reader.list_header()
    except IndexError:
        return None
    n_words = n_rows * (2 * len(members) + 1)
    stored = np.frombuffer(content, np.uint8)[reader.position :]
    last = np.flatnonzero(stored < 128)[:n_words]
    if type_ != STRUCT or not 0 < n_words == len(last):
        return None
    stored = stored[: last[-1] + 1]
    first = np.append(0, last[:-1] + 1)
    length = last + 1 - first
    if length.max() * 7 > 63:
        return None
    shift = 7 * (np.arange(len(stored)) - np.repeat(first, length))
    words = np.add.reduceat((stored & np.int64(127)) << shift, first).reshape(n_rows, -1)
    headers, values = words[:, 0::2], words[:, 1::2]
    types, deltas = headers[0, :-1] & 15, headers[0, :-1] >> 4
    if (
        np.any(headers != headers[0])
        or np.any(length.reshape(words.shape)[:, 0::2] > 1)
        or np.any(deltas != np.diff(members, prepend=0))
        or np.any((types < I16) | (types > I64))
        or headers[0, -1]
    ):
        return None
    return (values >> 1) ^ -(values & 1)


def write_struct(struct: Struct) -> bytes:
    """Encode a struct."""
    output = bytearray()
    _write_struct(output, struct)
    return bytes(output)


class _Reader:
    """Where the time of a search goes: a page has a header and a place in the index."""

    def __init__(self, content: bytes, start: int) -> None:
        self._content = content
        self.position = start

    def struct(self) -> Struct:
        fields: Struct = {}
        number = 0
        content = self._content
        while header := content[self.position]:
            self.position += 1
            delta, type_ = header >> 4, header & 15
            number = number + delta if delta else self._integer()
            if I16 <= type_ <= I64:
                fields[number] = (type_, self._integer())
            elif type_ <= FALSE:
                # The value of a boolean field is its type.
                fields[number] = (type_, type_ == TRUE)
            else:
                fields[number] = (type_, self._value(type_))
        self.position += 1
        return fields

    def _value(self, type_: int) -> Any:
        if I16 <= type_ <= I64:
            return self._integer()
        if type_ == STRUCT:
            return self.struct()
        if type_ == BINARY:
            return self._bytes(self._varint())
        if type_ in (LIST, SET):
            return self._list()
        if type_ in (TRUE, FALSE, BYTE):
            return self._bytes(1)[0]
        if type_ == DOUBLE:
            return self._bytes(8)
        raise ValueError(f"Thrift type {type_} has no place in Parquet metadata")

    def list_header(self) -> tuple[int, int]:
        """Return the number and the type of the elements of the list that begins here."""
        header = self._bytes(1)[0]
        length, type_ = header >> 4, header & 15
        return self._varint() if length == 15 else length, type_

    def _list(self) -> tuple[int, list[Any]]:
        length, type_ = self.list_header()
        if type_ == STRUCT:
            return type_, [self.struct() for _ in range(length)]
        return type_, [self._value(type_) for _ in range(length)]

    def _bytes(self, length: int) -> bytes:
        start, self.position = self.position, self.position + length
        found = self._content[start : self.position]
        if len(found) < length:
            raise IndexError
        return found

    def _varint(self) -> int:
        content, position = self._content, self.position
        byte = content[position]
        decoded, shift = byte & 127, 7
        while byte >= 128:
            position += 1
            byte = content[position]
            decoded |= (byte & 127) << shift
            shift += 7
        self.position = position + 1
        return decoded

    def _integer(self) -> int:
        encoded = self._varint()
        return (encoded >> 1) ^ -(encoded & 1)


def _write_struct(output: bytearray, struct: Struct) -> None:
    last = 0
    for number, (type_, content) in sorted(struct.items()):
        if 0 < number - last < 16:
            output.append((number - last) << 4 | type_)
        else:
            output.append(type_)
            _write_integer(output, number)
        last = number
        if type_ > FALSE:
            _write_value(output, type_, content)
    output.append(0)


def _write_value(output: bytearray, type_: int, content: Any) -> None:
    if type_ in (I16, I32, I64):
        _write_integer(output, content)
    elif type_ in (TRUE, FALSE, BYTE):
        output.append(content)
    elif type_ == BINARY:
        _write_varint(output, len(content))
        output += content
    elif type_ == STRUCT:
        _write_struct(output, content)
    elif type_ == DOUBLE:
        output += content
    else:
        element_type, members = content
        output.append(min(len(members), 15) << 4 | element_type)
        if len(members) >= 15:
            _write_varint(output, len(members))
        for member in members:
            _write_value(output, element_type, member)


def _write_varint(output: bytearray, number: int) -> None:
    while number > 127:
        output.append(number & 127 | 128)
        number >>= 7
    output.append(number)


def _write_integer(output: bytearray, number: int) -> None:
    _write_varint(output, number << 1 if number >= 0 else (-number << 1) - 1)
