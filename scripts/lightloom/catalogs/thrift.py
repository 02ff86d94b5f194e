"""The compact Thrift protocol, in which the metadata of Parquet files are written.

pyarrow does not tell where the pages of a column lie; the footer and the page index do. Structs are
read without knowing their definition, so that they can be written again as they were.
"""

from typing import Any

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

    def _list(self) -> tuple[int, list[Any]]:
        header = self._bytes(1)[0]
        length, type_ = header >> 4, header & 15
        if length == 15:
            length = self._varint()
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
