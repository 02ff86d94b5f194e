"""Exports as text: ECSV, and VOTable in its TABLEDATA form.

The heads are astropy's; the rows are written by Arrow, column by column, with the shortest decimal
numbers that are read back as the same doubles.
"""

from collections.abc import Iterable
from io import BytesIO, StringIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
from astropy.io.votable import tree
from astropy.table import MaskedColumn, Table
from astropy.time import Time

from lightloom import __version__
from lightloom.export.rows import TIME
from lightloom.storage import atomic_path

_VOTABLE_TYPES = {
    pa.string(): {"datatype": "unicodeChar", "arraysize": "*"},
    pa.float64(): {"datatype": "double"},
    pa.int64(): {"datatype": "long"},
    pa.int8(): {"datatype": "short"},
}


def write_ecsv(path: Path, schema: pa.Schema, blocks: Iterable[pa.Table]) -> int:
    """Write an ECSV file; `time_mjd_tdb` is read back as an astropy Time. Return its rows."""
    n_rows = 0
    options = pacsv.WriteOptions(include_header=False, quoting_style="needed")
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(_ecsv_head(schema))
        with pacsv.CSVWriter(file, pa.schema(_plain(schema)), write_options=options) as writer:
            for block in blocks:
                writer.write_table(block.cast(pa.schema(_plain(schema))))
                n_rows += block.num_rows
    return n_rows


def _plain(schema: pa.Schema) -> list[pa.Field]:
    return [pa.field(field.name, field.type) for field in schema]


def _ecsv_head(schema: pa.Schema) -> bytes:
    table = Table(meta={"creator": f"lightloom {__version__}", "radesys": "ICRS"})
    for field in schema:
        if field.name == TIME:
            table[TIME] = Time(np.zeros(0), format="mjd", scale="tdb")
            table[TIME].info.description = field_metadata(field, "description")
            table[TIME].info.meta = {
                "ucd": field_metadata(field, "ucd"),
                "refposition": "BARYCENTER",
            }
            continue
        empty = np.zeros(0, field.type.to_pandas_dtype() if field.type != pa.string() else "U1")
        table[field.name] = MaskedColumn(
            empty,
            unit=field_metadata(field, "unit") or None,
            description=field_metadata(field, "description"),
            meta={"ucd": field_metadata(field, "ucd")},
        )
    text = StringIO()
    table.write(text, format="ascii.ecsv", delimiter=",")
    return text.getvalue().encode()


def field_metadata(field: pa.Field, name: str) -> str:
    """Return an entry of a field's metadata, or nothing."""
    return (field.metadata or {}).get(name.encode(), b"").decode()


def write_votable(path: Path, schema: pa.Schema, blocks: Iterable[pa.Table]) -> int:
    """Write a VOTable 1.4 with TIMESYS and COOSYS. Return its number of rows."""
    head, tail = _votable_frame(schema)
    n_rows = 0
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(head)
        for block in blocks:
            file.writelines(f"{row}\n".encode() for row in _votable_rows(block).to_pylist())
            n_rows += block.num_rows
        file.write(tail)
    return n_rows


def _votable_rows(block: pa.Table) -> pa.Array:
    cells = []
    for column in block.combine_chunks().columns:
        text = pc.fill_null(column.cast(pa.string()), "")
        if pa.types.is_string(column.type):
            for character, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
                text = pc.replace_substring(text, character, entity)
        cells.append(text)
    joined = pc.binary_join_element_wise(*cells, "</TD><TD>")
    return pc.binary_join_element_wise("<TR><TD>", joined, "</TD></TR>", "")


def _votable_frame(schema: pa.Schema) -> tuple[bytes, bytes]:
    """Return what stands before and after the rows."""
    document = tree.VOTableFile(version="1.4")
    resource = tree.Resource(type="results")
    document.resources.append(resource)
    resource.infos.append(tree.Info(name="QUERY_STATUS", value="OK"))
    resource.infos.append(tree.Info(name="creator", value=f"lightloom {__version__}"))
    resource.coordinate_systems.append(tree.CooSys(ID="sky", system="ICRS"))
    resource.time_systems.append(
        tree.TimeSys(
            ID="tdb",
            timeorigin="MJD-origin",
            timescale="TDB",
            refposition="BARYCENTER",
            config={"version_1_4_or_later": True},
        )
    )
    table = tree.TableElement(document, name="lightcurves")
    resource.tables.append(table)
    references = {TIME: "tdb", "ra_deg": "sky", "dec_deg": "sky"}
    for field in schema:
        element = tree.Field(
            document,
            ID=field.name,
            name=field.name,
            ucd=field_metadata(field, "ucd") or None,
            unit=field_metadata(field, "unit") or None,
            ref=references.get(field.name),
            **_VOTABLE_TYPES[field.type],
        )
        element.description = field_metadata(field, "description")
        table.fields.append(element)
    text = BytesIO()
    document.to_xml(text)
    # astropy writes no DATA for a table without rows.
    head, mark, tail = text.getvalue().partition(b"  </TABLE>")
    return head + b"<DATA><TABLEDATA>\n", b"</TABLEDATA></DATA>\n" + mark + tail
