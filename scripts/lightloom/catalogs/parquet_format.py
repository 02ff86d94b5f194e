"""The metadata of Parquet files, as far as pages are concerned.

pyarrow does not tell where the pages of a column lie; the footer, the page index and the headers of
pages do. They are structs in the compact protocol of Apache Thrift, whose library decodes them; a
field that is not listed here is passed over, one that is not there is None.

The numbers of fields are those of ``parquet.thrift`` in Apache Parquet 2.11.
"""

from collections.abc import Mapping
from typing import Any, TypeVar

from thrift.protocol.TBase import TBase
from thrift.protocol.TCompactProtocol import TCompactProtocolAcceleratedFactory
from thrift.Thrift import TException, TType
from thrift.transport.TTransport import TMemoryBuffer

# Types of fields, with what Thrift must know to go on with them.
_FieldType = tuple[int, Any]
_BOOL: _FieldType = TType.BOOL, None
_BYTE: _FieldType = TType.BYTE, None
_I32: _FieldType = TType.I32, None
_I64: _FieldType = TType.I64, None
_BINARY: _FieldType = TType.STRING, "BINARY"


#: More than any file needs, and little enough to be made room for before it is found to be cut off.
_LIMITS = {"string_length_limit": 1 << 24, "container_length_limit": 1 << 22}


class CutOffError(ValueError):
    """A struct is not whole."""


class _Struct(TBase):
    """A struct, whose fields are given by number with their names and types."""

    def __init_subclass__(cls, fields: Mapping[int, tuple[str, _FieldType]]) -> None:
        spec: list[tuple[Any, ...] | None] = [None] * (max(fields, default=-1) + 1)
        for number, (name, (type_, arguments)) in fields.items():
            spec[number] = (number, type_, name, arguments, None)
            setattr(cls, name, None)
        cls.thrift_spec = tuple(spec)


_S = TypeVar("_S", bound=_Struct)


def _struct(cls: type[_Struct]) -> _FieldType:
    return TType.STRUCT, [cls, cls.thrift_spec]


def _list(element: _FieldType) -> _FieldType:
    return TType.LIST, (*element, False)


class _Mark(_Struct, fields={}):
    """A struct that says something by being there."""


class _Decimal(_Struct, fields={1: ("scale", _I32), 2: ("precision", _I32)}):
    pass


class _TimeUnit(
    _Struct,
    fields={
        1: ("MILLIS", _struct(_Mark)),
        2: ("MICROS", _struct(_Mark)),
        3: ("NANOS", _struct(_Mark)),
    },
):
    pass


class _Time(_Struct, fields={1: ("isAdjustedToUTC", _BOOL), 2: ("unit", _struct(_TimeUnit))}):
    pass


class _Integer(_Struct, fields={1: ("bitWidth", _BYTE), 2: ("isSigned", _BOOL)}):
    pass


class _LogicalType(
    _Struct,
    fields={
        1: ("STRING", _struct(_Mark)),
        2: ("MAP", _struct(_Mark)),
        3: ("LIST", _struct(_Mark)),
        4: ("ENUM", _struct(_Mark)),
        5: ("DECIMAL", _struct(_Decimal)),
        6: ("DATE", _struct(_Mark)),
        7: ("TIME", _struct(_Time)),
        8: ("TIMESTAMP", _struct(_Time)),
        10: ("INTEGER", _struct(_Integer)),
        11: ("UNKNOWN", _struct(_Mark)),
        12: ("JSON", _struct(_Mark)),
        13: ("BSON", _struct(_Mark)),
        14: ("UUID", _struct(_Mark)),
        15: ("FLOAT16", _struct(_Mark)),
    },
):
    pass


class SchemaElement(
    _Struct,
    fields={
        1: ("type", _I32),
        2: ("type_length", _I32),
        3: ("repetition_type", _I32),
        4: ("name", _BINARY),
        5: ("num_children", _I32),
        6: ("converted_type", _I32),
        7: ("scale", _I32),
        8: ("precision", _I32),
        9: ("field_id", _I32),
        10: ("logicalType", _struct(_LogicalType)),
    },
):
    """A column, or a group of them; elements are listed depth first."""

    name: bytes
    num_children: int | None


class ColumnMetaData(
    _Struct,
    fields={
        1: ("type", _I32),
        2: ("encodings", _list(_I32)),
        3: ("path_in_schema", _list(_BINARY)),
        4: ("codec", _I32),
        5: ("num_values", _I64),
        6: ("total_uncompressed_size", _I64),
        7: ("total_compressed_size", _I64),
        9: ("data_page_offset", _I64),
        11: ("dictionary_page_offset", _I64),
    },
):
    """What is stored of a column in a row group."""

    type: int
    encodings: list[int]
    path_in_schema: list[bytes]
    codec: int
    num_values: int
    total_uncompressed_size: int
    total_compressed_size: int
    data_page_offset: int
    dictionary_page_offset: int | None


class ColumnChunk(
    _Struct,
    fields={
        2: ("file_offset", _I64),
        3: ("meta_data", _struct(ColumnMetaData)),
        4: ("offset_index_offset", _I64),
        5: ("offset_index_length", _I32),
        6: ("column_index_offset", _I64),
        7: ("column_index_length", _I32),
    },
):
    """A column in a row group, and where its page index lies."""

    file_offset: int
    meta_data: ColumnMetaData
    offset_index_offset: int
    offset_index_length: int
    column_index_offset: int
    column_index_length: int


class RowGroup(
    _Struct,
    fields={
        1: ("columns", _list(_struct(ColumnChunk))),
        2: ("total_byte_size", _I64),
        3: ("num_rows", _I64),
    },
):
    """Some rows of all columns."""

    columns: list[ColumnChunk]
    total_byte_size: int
    num_rows: int


class FileMetaData(
    _Struct,
    fields={
        1: ("version", _I32),
        2: ("schema", _list(_struct(SchemaElement))),
        3: ("num_rows", _I64),
        4: ("row_groups", _list(_struct(RowGroup))),
        6: ("created_by", _BINARY),
    },
):
    """The footer of a file."""

    version: int
    schema: list[SchemaElement]
    num_rows: int
    row_groups: list[RowGroup]
    created_by: bytes | None


class PageLocation(
    _Struct,
    fields={
        1: ("offset", _I64),
        2: ("compressed_page_size", _I32),
        3: ("first_row_index", _I64),
    },
):
    """Where a page lies, with its header."""

    offset: int
    compressed_page_size: int
    first_row_index: int


class OffsetIndex(_Struct, fields={1: ("page_locations", _list(_struct(PageLocation)))}):
    """The places of the pages of a column chunk."""

    page_locations: list[PageLocation]


class ColumnIndex(
    _Struct,
    fields={
        1: ("null_pages", _list(_BOOL)),
        2: ("min_values", _list(_BINARY)),
        3: ("max_values", _list(_BINARY)),
    },
):
    """The limits of the values in the pages of a column chunk."""

    null_pages: list[bool]
    min_values: list[bytes]
    max_values: list[bytes]


class DataPageHeader(_Struct, fields={1: ("num_values", _I32)}):
    """What the header of a page of data says of it, old or new."""

    num_values: int


class PageHeader(
    _Struct,
    fields={
        2: ("uncompressed_page_size", _I32),
        3: ("compressed_page_size", _I32),
        5: ("data_page_header", _struct(DataPageHeader)),
        8: ("data_page_header_v2", _struct(DataPageHeader)),
    },
):
    """The header of a page."""

    uncompressed_page_size: int
    compressed_page_size: int
    data_page_header: DataPageHeader | None
    data_page_header_v2: DataPageHeader | None


def read_struct(cls: type[_S], content: bytes, start: int = 0) -> tuple[_S, int]:
    """Decode the struct that begins at an offset, and return it with the offset of its end.

    Raises
    ------
    CutOffError
        If there is the begin of a struct.
    ValueError
        If there is no struct, or a part of it is beyond all measure.
    """
    transport = TMemoryBuffer(content, start)
    struct = cls()
    try:
        struct.read(TCompactProtocolAcceleratedFactory(**_LIMITS).getProtocol(transport))
    except EOFError as error:
        raise CutOffError("a Thrift struct is cut off") from error
    except (TException, TypeError, OverflowError) as error:
        raise ValueError(f"a Thrift struct cannot be decoded ({error})") from error
    return struct, transport.cstringio_buf.tell()


def write_struct(struct: _Struct) -> bytes:
    """Encode a struct."""
    transport = TMemoryBuffer()
    struct.write(TCompactProtocolAcceleratedFactory().getProtocol(transport))
    content: bytes = transport.getvalue()
    return content
