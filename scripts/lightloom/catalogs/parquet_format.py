"""The metadata of Parquet files, as far as pages are concerned.

pyarrow does not tell where the pages of a column lie; the footer, the page index and the headers of
pages do. They are structs in the compact protocol of Apache Thrift, whose library decodes them; a
field that is not listed here is passed over, one that is not there is None.

The numbers of fields are those of ``parquet.thrift`` in Apache Parquet 2.11.
"""

import inspect
from typing import Annotated, Any, TypeVar, get_args

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
_LIMITED = TCompactProtocolAcceleratedFactory(
    string_length_limit=1 << 24, container_length_limit=1 << 22
)


class CutOffError(ValueError):
    """A struct is not whole."""


class _Struct(TBase):
    """A struct, whose fields are annotated with their numbers and types."""

    def __init_subclass__(cls) -> None:
        fields: dict[int, tuple[Any, ...]] = {}
        for name, annotation in inspect.get_annotations(cls).items():
            _, number, (type_, arguments) = get_args(annotation)
            fields[number] = (number, type_, name, arguments, None)
            setattr(cls, name, None)
        cls.thrift_spec = tuple(fields.get(number) for number in range(max(fields, default=-1) + 1))


_S = TypeVar("_S", bound=_Struct)


def _struct(cls: type[_Struct]) -> _FieldType:
    return TType.STRUCT, [cls, cls.thrift_spec]


def _list(element: _FieldType) -> _FieldType:
    return TType.LIST, (*element, False)


class _Mark(_Struct):
    """A struct that says something by being there."""


class _Decimal(_Struct):
    scale: Annotated[int, 1, _I32]
    precision: Annotated[int, 2, _I32]


class _TimeUnit(_Struct):
    MILLIS: Annotated[_Mark, 1, _struct(_Mark)]
    MICROS: Annotated[_Mark, 2, _struct(_Mark)]
    NANOS: Annotated[_Mark, 3, _struct(_Mark)]


class _Time(_Struct):
    is_adjusted_to_utc: Annotated[bool, 1, _BOOL]
    unit: Annotated[_TimeUnit, 2, _struct(_TimeUnit)]


class _Integer(_Struct):
    bit_width: Annotated[int, 1, _BYTE]
    is_signed: Annotated[bool, 2, _BOOL]


class _LogicalType(_Struct):
    STRING: Annotated[_Mark, 1, _struct(_Mark)]
    MAP: Annotated[_Mark, 2, _struct(_Mark)]
    LIST: Annotated[_Mark, 3, _struct(_Mark)]
    ENUM: Annotated[_Mark, 4, _struct(_Mark)]
    DECIMAL: Annotated[_Decimal, 5, _struct(_Decimal)]
    DATE: Annotated[_Mark, 6, _struct(_Mark)]
    TIME: Annotated[_Time, 7, _struct(_Time)]
    TIMESTAMP: Annotated[_Time, 8, _struct(_Time)]
    INTEGER: Annotated[_Integer, 10, _struct(_Integer)]
    UNKNOWN: Annotated[_Mark, 11, _struct(_Mark)]
    JSON: Annotated[_Mark, 12, _struct(_Mark)]
    BSON: Annotated[_Mark, 13, _struct(_Mark)]
    UUID: Annotated[_Mark, 14, _struct(_Mark)]
    FLOAT16: Annotated[_Mark, 15, _struct(_Mark)]


class SchemaElement(_Struct):
    """A column, or a group of them; elements are listed depth first."""

    type: Annotated[int, 1, _I32]
    type_length: Annotated[int, 2, _I32]
    repetition_type: Annotated[int, 3, _I32]
    name: Annotated[bytes, 4, _BINARY]
    num_children: Annotated[int | None, 5, _I32]
    converted_type: Annotated[int, 6, _I32]
    scale: Annotated[int, 7, _I32]
    precision: Annotated[int, 8, _I32]
    field_id: Annotated[int, 9, _I32]
    logical_type: Annotated[_LogicalType, 10, _struct(_LogicalType)]


class ColumnMetaData(_Struct):
    """What is stored of a column in a row group."""

    type: Annotated[int, 1, _I32]
    encodings: Annotated[list[int], 2, _list(_I32)]
    path_in_schema: Annotated[list[bytes], 3, _list(_BINARY)]
    codec: Annotated[int, 4, _I32]
    num_values: Annotated[int, 5, _I64]
    total_uncompressed_size: Annotated[int, 6, _I64]
    total_compressed_size: Annotated[int, 7, _I64]
    data_page_offset: Annotated[int, 9, _I64]
    dictionary_page_offset: Annotated[int | None, 11, _I64]


class ColumnChunk(_Struct):
    """A column in a row group, and where its page index lies."""

    file_offset: Annotated[int, 2, _I64]
    meta_data: Annotated[ColumnMetaData, 3, _struct(ColumnMetaData)]
    offset_index_offset: Annotated[int, 4, _I64]
    offset_index_length: Annotated[int, 5, _I32]
    column_index_offset: Annotated[int, 6, _I64]
    column_index_length: Annotated[int, 7, _I32]


class RowGroup(_Struct):
    """Some rows of all columns."""

    columns: Annotated[list[ColumnChunk], 1, _list(_struct(ColumnChunk))]
    total_byte_size: Annotated[int, 2, _I64]
    num_rows: Annotated[int, 3, _I64]


class FileMetaData(_Struct):
    """The footer of a file."""

    version: Annotated[int, 1, _I32]
    schema: Annotated[list[SchemaElement], 2, _list(_struct(SchemaElement))]
    num_rows: Annotated[int, 3, _I64]
    row_groups: Annotated[list[RowGroup], 4, _list(_struct(RowGroup))]
    created_by: Annotated[bytes | None, 6, _BINARY]


class PageLocation(_Struct):
    """Where a page lies, with its header."""

    offset: Annotated[int, 1, _I64]
    compressed_page_size: Annotated[int, 2, _I32]
    first_row_index: Annotated[int, 3, _I64]


class OffsetIndex(_Struct):
    """The places of the pages of a column chunk."""

    page_locations: Annotated[list[PageLocation], 1, _list(_struct(PageLocation))]


class ColumnIndex(_Struct):
    """The limits of the values in the pages of a column chunk."""

    null_pages: Annotated[list[bool], 1, _list(_BOOL)]
    min_values: Annotated[list[bytes], 2, _list(_BINARY)]
    max_values: Annotated[list[bytes], 3, _list(_BINARY)]


class DataPageHeader(_Struct):
    """What the header of a page of data says of it, old or new."""

    num_values: Annotated[int, 1, _I32]


class PageHeader(_Struct):
    """The header of a page."""

    uncompressed_page_size: Annotated[int, 2, _I32]
    compressed_page_size: Annotated[int, 3, _I32]
    data_page_header: Annotated[DataPageHeader | None, 5, _struct(DataPageHeader)]
    data_page_header_v2: Annotated[DataPageHeader | None, 8, _struct(DataPageHeader)]


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
        struct.read(_LIMITED.getProtocol(transport))
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
