"""What a TAP service says of itself: capabilities, tables and availability (VOSI 1.1)."""

from collections.abc import Mapping
from xml.sax.saxutils import escape, quoteattr

import pyarrow as pa

from laboratory.database import VOTABLE_TYPES, metadata_of

XML = '<?xml version="1.0" encoding="utf-8"?>\n'
NAMESPACES = (
    'xmlns:vosi="http://www.ivoa.net/xml/VOSICapabilities/v1.0" '
    'xmlns:vs="http://www.ivoa.net/xml/VODataService/v1.1" '
    'xmlns:tr="http://www.ivoa.net/xml/TAPRegExt/v1.0" '
    'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
)
#: Endpoints and their standards, besides TAP itself.
STANDARDS = {
    "capabilities": "ivo://ivoa.net/std/VOSI#capabilities",
    "availability": "ivo://ivoa.net/std/VOSI#availability",
    "tables": "ivo://ivoa.net/std/VOSI#tables-1.1",
}
FORMATS = {
    "application/x-votable+xml": "votable",
    "application/x-votable+xml;serialization=tabledata": "votable/td",
    "text/csv": "csv",
}


def capabilities(address: str, limits: Mapping[str, int]) -> str:
    """Describe a service.

    Parameters
    ----------
    address : str
        Base address of the service.
    limits : mapping of str to int
        `output_default`, `output_hard` and `upload_hard` [rows].
    """
    others = "".join(
        f'<capability standardID="{standard}">{_interface(f"{address}/{name}", "full")}'
        "</capability>\n"
        for name, standard in STANDARDS.items()
    )
    features = "".join(
        f"<feature><form>{name}</form></feature>"
        for name in ("POINT", "CIRCLE", "CONTAINS", "DISTANCE", "COORD1", "COORD2")
    )
    formats = "".join(
        f"<outputFormat><mime>{mime}</mime><alias>{alias}</alias></outputFormat>\n"
        for mime, alias in FORMATS.items()
    )
    return (
        f"{XML}<vosi:capabilities {NAMESPACES}>\n"
        '<capability standardID="ivo://ivoa.net/std/TAP" xsi:type="tr:TableAccess">\n'
        f"{_interface(address, 'base')}"
        '<language><name>ADQL</name><version ivo-id="ivo://ivoa.net/std/ADQL#v2.0">2.0</version>'
        "<description>ADQL 2.0</description>"
        '<languageFeatures type="ivo://ivoa.net/std/TAPRegExt#features-adqlgeo">'
        f"{features}</languageFeatures></language>\n"
        f"{formats}"
        '<uploadMethod ivo-id="ivo://ivoa.net/std/TAPRegExt#upload-inline"/>\n'
        f'<outputLimit><default unit="row">{limits["output_default"]}</default>'
        f'<hard unit="row">{limits["output_hard"]}</hard></outputLimit>\n'
        f'<uploadLimit><hard unit="row">{limits["upload_hard"]}</hard></uploadLimit>\n'
        f"</capability>\n{others}</vosi:capabilities>\n"
    )


def tables(described: Mapping[str, pa.Schema]) -> str:
    """Describe the tables, by their qualified names."""
    schemas: dict[str, list[str]] = {}
    for name, fields in described.items():
        columns = "".join(_column(field) for field in fields)
        schemas.setdefault(name.split(".")[0], []).append(
            f'<table type="table"><name>{escape(name)}</name>\n{columns}</table>\n'
        )
    parts = "".join(
        f"<schema><name>{escape(schema)}</name>\n{''.join(found)}</schema>\n"
        for schema, found in sorted(schemas.items())
    )
    namespaces = NAMESPACES.replace("VOSICapabilities", "VOSITables")
    return f"{XML}<vosi:tableset {namespaces}>\n{parts}</vosi:tableset>\n"


def availability() -> str:
    """Say that the service is up."""
    namespace = "http://www.ivoa.net/xml/VOSIAvailability/v1.0"
    return (
        f'{XML}<vosi:availability xmlns:vosi="{namespace}">'
        "<vosi:available>true</vosi:available></vosi:availability>\n"
    )


def _interface(address: str, use: str) -> str:
    return (
        '<interface xsi:type="vs:ParamHTTP" role="std" version="1.1">'
        f"<accessURL use={quoteattr(use)}>{escape(address)}</accessURL></interface>\n"
    )


def _column(field: pa.Field) -> str:
    known = field.type in VOTABLE_TYPES
    datatype = VOTABLE_TYPES.get(field.type, "char")
    arraysize = "" if known else ' arraysize="*"'
    described = "".join(
        f"<{key}>{escape(value)}</{key}>"
        for key in ("description", "unit", "ucd")
        if (value := metadata_of(field, key))
    )
    return (
        f"<column><name>{escape(field.name)}</name>{described}"
        f'<dataType xsi:type="vs:VOTableType"{arraysize}>{datatype}</dataType></column>\n'
    )
