"""Checks of catalogue entries of TAP services, which ask nothing."""

import copy
from typing import Any

import pytest
from small_archives import spec_of
from small_services import ENTRIES

from lightloom.errors import ConfigError
from lightloom.services.tap_checks import selected_names


def _problems(name: str, *path: str, value: Any) -> str:
    """Messages about an entry in which one key is changed, or taken away (None)."""
    entry = copy.deepcopy(ENTRIES[name])
    place = entry
    for key in path[:-1]:
        place = place.setdefault(key, {})
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    with pytest.raises(ConfigError) as caught:
        spec_of(entry)
    return str(caught.value).replace("catalogue.survey.", "")


@pytest.mark.parametrize("name", ENTRIES)
def test_entries_of_the_project_are_right(name: str) -> None:
    spec_of(ENTRIES[name])


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("columns", "object_id"), None, "columns.object_id: missing, expected the column of"),
        (("bands",), None, "bands: missing, expected it with the module tap_lightcurve"),
        (
            ("columns", "value"),
            "obj.mag_auto",
            "columns.value: found 'obj.mag_auto' with the table 'obj', expected expo or meas",
        ),
        (
            ("options", "expressions"),
            {"mjd_mid": "mess.mjd + 1.5"},
            "options.expressions.mjd_mid: found 'mess.mjd + 1.5' with the table 'mess', expected",
        ),
        (("options", "table"), "two words", "options.table: found 'two words'"),
        (("options", "maxrec"), 1, "options.maxrec: found 1"),
        (("options", "colour"), 1, "options.colour: unknown key"),
        (
            ("options", "adql", "match"),
            "SELECT {columns} FROM {target} AS up",
            "options.adql.match: unknown placeholder {target}, did you mean 'targets'?"
            " (expected: circles, columns, radius_deg, targets)",
        ),
        (
            ("options", "adql", "match"),
            "SELECT {columns} FROM somewhere",
            "options.adql.match: missing placeholder, expected {targets}",
        ),
        (
            ("options", "adql", "match"),
            "SELECT up.target, obj.id, MIN(obj.ra, 3) AS ra FROM {targets}",
            "options.adql.match: found no column dec in its SELECT list, or {columns}",
        ),
        (("options", "adql", "rows"), "SELECT {", "options.adql.rows: cannot be read"),
    ],
)
def test_wrong_light_curve_entries(path: tuple[str, ...], value: Any, message: str) -> None:
    assert message in _problems("nsc", *path, value=value)


def test_query_that_is_counted_cannot_be_grouped() -> None:
    entry = copy.deepcopy(ENTRIES["nsc"])
    entry["options"] |= {
        "counted": False,
        "adql": {"rows": "SELECT {columns} FROM {objects} GROUP BY x"},
    }
    with pytest.raises(ConfigError, match=r"options\.adql\.rows: found GROUP BY or ORDER BY"):
        spec_of(entry)


def test_rows_need_a_table_of_measurements() -> None:
    message = "options.adql.rows: found, expected options.measurements with it"
    assert message in _problems("xmm", "options", "adql", "rows", value="SELECT {columns} {ids}")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("columns", "time"), None, "columns.time: missing, expected the column of the table of"),
        (("columns", "flags"), "f", "columns.flags: found, expected of an event only"),
        (("kind",), "forced", "kind: found 'forced', expected event"),
        (("options", "error_radius", "unit"), "rad", "options.error_radius.unit: found 'rad'"),
        (("options", "band"), None, "options.band: missing"),
    ],
)
def test_wrong_event_entries(path: tuple[str, ...], value: Any, message: str) -> None:
    assert message in _problems("fermigbm", *path, value=value)


def test_names_of_selected_columns() -> None:
    query = """SELECT TOP 5 t.a, f(b, c.d) AS "e", g
        h, 'x' FROM t"""
    assert selected_names(query) == ["a", "e", "h", "'x'"]
