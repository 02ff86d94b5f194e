"""Horizons: astroquery reads its replies, and what it says when there is no table."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from astropy.table import Table
from astroquery.jplhorizons import Horizons, HorizonsClass, conf

from laboratory import Laboratory
from lightloom.sky.moving.bodies import bundled, main_solutions
from lightloom.sky.moving.ephemeris import observe, uncertainty_arcsec
from lightloom.sky.moving.observers import SITES, view

REAL = Path(__file__).parents[4] / "shared" / "real" / "horizons"
COLUMNS = "1,3,9,19,20,23,24,36"
BODIES = {body.designation: body for body in main_solutions(bundled())}


@pytest.fixture
def horizons(laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch) -> type[HorizonsClass]:
    """astroquery's class, asking the laboratory; its setting allows JPL's address only."""
    address = f"{laboratory.url('horizons')}/api/horizons.api"
    monkeypatch.setattr(type(conf), "horizons_server", address)
    return Horizons


def ephemerides(query: HorizonsClass, columns: str = COLUMNS, **options: Any) -> Table:
    return query.ephemerides(quantities=columns, cache=False, **options)


def ask(laboratory: Laboratory, **parameters: str) -> requests.Response:
    defaults = {"format": "text", "EPHEM_TYPE": "OBSERVER", "CSV_FORMAT": "YES"}
    defaults |= {"ANG_FORMAT": "DEG", "QUANTITIES": "'1'", "COMMAND": '"DES=2I;"'}
    defaults |= {"START_TIME": "2019-01-01", "STOP_TIME": "2019-01-02", "STEP_SIZE": "1h"}
    address = f"{laboratory.url('horizons')}/api/horizons.api"
    return requests.get(address, defaults | parameters, timeout=30)


def test_astroquery_reads_a_range(horizons: type[HorizonsClass], laboratory: Laboratory) -> None:
    epochs = {"start": "2019-05-20", "stop": "2019-05-27 12:00", "step": "30m"}
    query = horizons("66391", id_type="smallbody", location="I41", epochs=epochs)
    table = ephemerides(query, extra_precision=True)
    assert len(table) == 7.5 * 48 + 1
    assert table["targetname"][0] == "66391 Moshup (1999 KW4)"
    assert table["datetime_str"][1] == "2019-May-20 00:30"
    utc_mjd = np.asarray(table["datetime_jd"]) - 2_400_000.5
    np.testing.assert_allclose(np.diff(utc_mjd), 1 / 48, atol=2e-9)
    sight = observe(BODIES["66391"].orbit, view(SITES["I41"], utc_mjd))
    np.testing.assert_allclose(table["RA"], sight.ra_deg, atol=2e-8)
    np.testing.assert_allclose(table["DEC"], sight.dec_deg, atol=2e-8)
    np.testing.assert_allclose(table["RA_rate"], sight.ra_rate, rtol=1e-5)
    np.testing.assert_allclose(table["r"], sight.sun_distance_au, atol=1e-11)
    np.testing.assert_allclose(table["delta"], sight.distance_au, atol=1e-11)
    np.testing.assert_allclose(table["alpha"], sight.phase_deg, atol=1e-4)
    expected = uncertainty_arcsec(BODIES["66391"], sight, utc_mjd)
    np.testing.assert_allclose(table["RA_3sigma"], expected[0], atol=1e-3)
    np.testing.assert_allclose(table["DEC_3sigma"], expected[1], atol=1e-3)
    assert np.all((table["V"] > 10) & (table["V"] < 20))
    assert {str(table[name].unit) for name in ("RA_rate", "RA_3sigma", "r")} == {
        "arcsec / h",
        "arcsec",
        "AU",
    }
    (record,) = laboratory.log("horizons")
    assert (record["rows"], record["targets"]) == (len(table), ["66391;"])


def test_places_differ_by_the_parallax(horizons: type[HorizonsClass]) -> None:
    epochs = {"start": "2021-03-03", "stop": "2021-03-05", "step": "1h"}
    tables = [
        ephemerides(horizons("99942", id_type="smallbody", location=place, epochs=epochs))
        for place in ("I41@399", None)
    ]
    moved = np.hypot(*(np.ptp([t[name] for t in tables], axis=0) for name in ("RA", "DEC")))
    assert 60 < moved.max() * 3600 < 8.794 / 0.114 * 1.2
    assert set(tables[1]["solar_presence"].filled("").tolist()) == {""}
    assert "*" in tables[0]["solar_presence"].filled("").tolist()


def test_a_comet_has_a_total_magnitude(horizons: type[HorizonsClass]) -> None:
    query = horizons("C/2020 F3", id_type="designation", location="I41", epochs=[2459040.75])
    table = ephemerides(query, closest_apparition=True, no_fragments=True)
    assert (table["M1"][0], table["k1"][0]) == (7.5, 13.0)
    expected = 7.5 + 5 * np.log10(table["delta"][0]) + 13 * np.log10(table["r"][0])
    assert table["Tmag"][0] == pytest.approx(expected, abs=1e-3)
    assert table["Nmag"].mask.all()
    assert table["datetime_str"][0] == "2020-Jul-10 06:00:00.000"


@pytest.mark.parametrize(
    ("query", "options", "name"),
    [
        (("2P", "designation"), {"closest_apparition": True, "no_fragments": True}, "2P/Encke"),
        (("90000080", None), {}, "2P/Encke"),
        (("67P", "designation"), {"closest_apparition": "<2012", "no_fragments": True}, "67P/"),
        (("73P", "designation"), {"closest_apparition": True, "no_fragments": True}, "73P/"),
        (("73P-BT", "designation"), {"closest_apparition": True}, "73P-BT/"),
        (("C/2019 Q4", "designation"), {"no_fragments": True}, "2I/Borisov"),
        (("2060", "designation"), {}, "95P/Chiron"),
        (("Ceres", "asteroid_name"), {}, "1 Ceres"),
        (("1", "smallbody"), {}, "1 Ceres"),
        (("Apophis", None), {}, "99942 Apophis"),
    ],
)
def test_objects_are_found(
    horizons: type[HorizonsClass], query: tuple, options: dict[str, Any], name: str
) -> None:
    identifier, kind = query
    found = horizons(identifier, id_type=kind, epochs=[2458800.5])
    assert ephemerides(found, "1", **options)["targetname"][0].startswith(name)


@pytest.mark.parametrize(
    ("query", "options", "message"),
    [
        (("1P", "designation"), {}, r"(?s)Ambiguous target name.*90000030 .*90000031 "),
        (("73P", "designation"), {"closest_apparition": True}, r"(?s)Ambiguous.*73P-B .*73P-BT "),
        (("Encke", None), {}, r"(?s)Ambiguous target name.*90000080 "),
        (("12345P", "designation"), {}, r"Unknown target \(12345P\)"),
        (("433", "smallbody"), {"closest_apparition": True}, r"Unknown target \(433\)"),
        (("1", "smallbody"), {"closest_apparition": True}, r"Unknown target \(1\)"),
        (("73P-BT", "designation"), {"no_fragments": True}, r"Unknown target \(73P-BT\)"),
        (("1", None), {}, r"Unknown target \(1\)"),
    ],
)
def test_what_is_not_unique_is_listed(
    horizons: type[HorizonsClass], query: tuple, options: dict[str, Any], message: str
) -> None:
    identifier, kind = query
    found = horizons(identifier, id_type=kind, epochs=[2458800.5])
    with pytest.raises(ValueError, match=message):
        ephemerides(found, "1", **options)


@pytest.mark.parametrize(
    ("epochs", "message"),
    [
        (
            {"start": "2018-01-01", "stop": "2020-01-01", "step": "10m"},
            r"Projected output length \(~105121\) exceeds 90024 line max -- change step-size",
        ),
        ({"start": "2018-01-01", "stop": "2018-01-02", "step": "3d"}, "STEP_SIZE too big"),
        ({"start": "2018-01-01", "stop": "2017-01-02", "step": "3d"}, "Bad dates"),
        ({"start": "yesterday", "stop": "2017-01-02", "step": "3d"}, "Cannot interpret date"),
        ([], "no TLIST values found"),
        (
            {"start": "2020-05-01", "stop": "2020-06-15", "step": "1d"},
            r"No ephemeris for target \"C/2019 Y4 \(ATLAS\)\" after A.D. 2020-May-31",
        ),
    ],
)
def test_wrong_times_are_explained(
    horizons: type[HorizonsClass], epochs: Any, message: str
) -> None:
    query = horizons("C/2019 Y4", id_type="designation", location="I41", epochs=epochs)
    with pytest.raises(ValueError, match=message):
        ephemerides(query, "1", no_fragments=True)


def test_a_long_address_is_refused(horizons: type[HorizonsClass]) -> None:
    epochs = [2458800.5 + 0.1234567 * i for i in range(120)]
    query = horizons("2I", id_type="designation", epochs=epochs)
    with (
        pytest.warns(UserWarning, match="might have been truncated"),
        pytest.raises(requests.HTTPError, match="414"),
    ):
        ephemerides(query, "1")


def test_rows_by_day_or_low_are_left_out(horizons: type[HorizonsClass]) -> None:
    epochs = {"start": "2019-11-01", "stop": "2019-11-04", "step": "20m"}
    query = horizons("2I", id_type="designation", location="I41", epochs=epochs)
    table = ephemerides(query, "1,4,8,23", skip_daylight=True, airmass_lessthan=2)
    everything = ephemerides(query, "4,8")
    assert 0 < len(table) < len(everything) / 4
    assert "*" not in set(table["solar_presence"].filled("").tolist())
    assert table["airmass"].max() <= 2
    assert table["EL"].min() > 29
    assert everything["airmass"].max() == 999


def test_an_unknown_place_or_quantity_is_refused(laboratory: Laboratory) -> None:
    assert "No site matches" in ask(laboratory, CENTER="'Z99'").text
    assert "QUANTITIES [2] are not known here" in ask(laboratory, QUANTITIES="'1,2'").text
    assert ask(laboratory, COMMAND="'nobody;'").text.count("No matches found") == 1


def test_the_json_form_tells_errors_from_results(laboratory: Laboratory) -> None:
    reply = ask(laboratory, format="json").json()
    assert reply["signature"] == {"source": "NASA/JPL Horizons API", "version": "1.2"}
    assert reply["result"].count("\n 2019-Jan-0") == 25
    assert "Bad dates" in ask(laboratory, format="json", STOP_TIME="2018-01-01").json()["error"]


def test_faults_strike(laboratory: Laboratory, horizons: type[HorizonsClass]) -> None:
    laboratory.faults(
        [
            {"service": "horizons", "target": ["DES=2I;"], "action": "overflow", "fraction": 0.5},
            {"service": "horizons", "action": "status", "status": 503},
        ]
    )
    epochs = {"start": "2019-11-01", "stop": "2019-11-02", "step": "1h"}
    assert len(ephemerides(horizons("2I", id_type="designation", epochs=epochs), "1")) == 12
    with pytest.raises(requests.HTTPError, match="503"):
        ephemerides(horizons("29P", id_type="designation", epochs=epochs), "1")


def test_replies_have_the_form_of_real_ones(laboratory: Laboratory) -> None:
    path = REAL / "TestEphemerisCLI-2p-horizons.txt"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    real = path.read_text()
    own = ask(
        laboratory,
        COMMAND='"DES=2P; CAP; NOFRAG;"',
        QUANTITIES="'1,3,9,19,20,23,24'",
        START_TIME="2024-08-16",
        STOP_TIME="2024-10-15",
        STEP_SIZE="1d",
    ).text
    heads = [re.search(r"(?m)^ Date__.*$", text)[0] for text in (real, own)]
    parts = [[part.strip() for part in head.split(",")] for head in heads]
    assert parts[1][:-1] == parts[0][: len(parts[1]) - 1]
    assert heads[0].startswith(heads[1])
    rows = [text.split("$$SOE\n")[1].split("\n$$EOE")[0].split("\n") for text in (real, own)]
    assert len(rows[0]) == len(rows[1]) == 61
    for real_row, own_row in zip(*rows, strict=True):
        real_fields, own_fields = real_row.split(","), own_row.split(",")
        assert real_fields[:2] == own_fields[:2]
        pairs = zip(real_fields, own_fields[:-1], strict=False)
        assert all(len(one) == len(two) for one, two in pairs)
        # Pulled by planets and its own gas it is a little off the orbit of two bodies.
        assert abs(float(real_fields[4]) - float(own_fields[4])) < 1
        assert abs(float(real_fields[5]) - float(own_fields[5])) < 1
