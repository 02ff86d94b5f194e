"""VOTables: what goes up is exact and always the same, what comes back is checked."""

from io import BytesIO

import numpy as np
import pyarrow as pa
import pytest
from astropy.io import votable
from hypothesis import given
from hypothesis import strategies as st

from lightloom.errors import ArchiveSchemaError
from lightloom.services.tap_votable import ExpectedColumn, reply_table, upload_bytes

DOCUMENT = """<?xml version="1.0"?>
<VOTABLE version="1.3" xmlns="http://www.ivoa.net/xml/VOTable/v1.3"><RESOURCE type="results">
<TABLE><FIELD name="ID" datatype="long"/><FIELD name="name" datatype="char" arraysize="*"/>
<FIELD name="flag" datatype="boolean"/><FIELD name="flux" datatype="double" unit="{unit}"/>
<FIELD name="n" datatype="short"/><FIELD name="pair" datatype="double" arraysize="2"/>
<DATA><TABLEDATA>
<TR><TD>9007199254740993</TD><TD>a</TD><TD>true</TD><TD>1.5</TD><TD>3</TD><TD>1 2</TD></TR>
<TR><TD/><TD/><TD/><TD/><TD/><TD>1 2</TD></TR>
</TABLEDATA></DATA></TABLE></RESOURCE></VOTABLE>"""


def _reply(*expected: ExpectedColumn, unit: str = "erg/s/cm**2") -> pa.Table:
    document = votable.parse(BytesIO(DOCUMENT.format(unit=unit).encode()))
    return reply_table(document.get_first_table(), expected)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_uploaded_numbers_are_exact(values: list[float]) -> None:
    table = pa.table({"target": np.arange(len(values)), "ra": values})
    content = upload_bytes(table, {"ra": "deg"})
    uploaded = votable.parse_single_table(BytesIO(content))
    np.testing.assert_array_equal(uploaded.array["ra"].data, values)
    assert [field.datatype for field in uploaded.fields] == ["long", "double"]
    assert content == upload_bytes(table, {"ra": "deg"})


def test_uploaded_text_is_of_characters_that_every_service_takes() -> None:
    content = upload_bytes(pa.table({"asked_id": ["o'1", "<&>"]}), {})
    (field,) = votable.parse_single_table(BytesIO(content)).fields
    assert field.datatype == "char"
    assert b"&lt;&amp;&gt;" in content


def test_types_and_missing_values() -> None:
    reply = _reply(*map(ExpectedColumn, ["id", "name", "flag", "flux", "n"]))
    assert reply.to_pydict() == {
        "id": [9007199254740993, None],
        "name": ["a", None],
        "flag": [True, None],
        "flux": [1.5, None],
        "n": [3, None],
    }
    assert reply.schema.field("n").type == pa.int64()


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        (ExpectedColumn("mag"), "column 'mag' is missing in the reply, found ID, name, flag"),
        (ExpectedColumn("name", is_number=True), "'name' has type char[*], expected a number"),
        (ExpectedColumn("flag", is_number=True), "'flag' has type boolean, expected a number"),
        (ExpectedColumn("pair"), "'pair' has type double[2], expected a number, text or"),
        (ExpectedColumn("flux", unit="mJy"), "has unit 'erg/s/cm**2', expected 'mJy'"),
    ],
)
def test_other_columns_are_refused(expected: ExpectedColumn, message: str) -> None:
    with pytest.raises(ArchiveSchemaError) as caught:
        _reply(expected)
    assert message in str(caught.value)


@pytest.mark.parametrize("unit", ["erg/s/cm**2", "erg/cm2/s", "erg.s-1.cm-2", "erg cm-2 s-1"])
def test_ways_to_write_a_unit(unit: str) -> None:
    _reply(ExpectedColumn("flux", unit="erg/cm2/s"), unit=unit)
