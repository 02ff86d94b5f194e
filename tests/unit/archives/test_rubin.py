"""Rubin's forced photometry: an entry of tap_lightcurve, with a token."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from astropy.time import Time
from small_services import (
    ORIGIN_DEG,
    ask,
    forced_sources,
    positions,
    rows_of,
    service_spec,
    write_tables,
)

from laboratory import Laboratory
from lightloom.archives import get_archive
from lightloom.errors import AuthenticationError

TOKEN = "gt-secret-of-the-test"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laboratory]:
    sky = write_tables(tmp_path_factory.mktemp("sky"))
    with Laboratory(sky, tokens={"rubin": TOKEN}) as laboratory:
        yield laboratory


@pytest.fixture
def laboratory(server: Laboratory, monkeypatch: pytest.MonkeyPatch) -> Laboratory:
    monkeypatch.setenv("RSP_TOKEN", TOKEN)
    server.clear_log()
    return server


def test_fluxes_times_and_flags(laboratory: Laboratory, tmp_path: Path) -> None:
    _, answers = ask(service_spec(laboratory, "rubin"), tmp_path, *positions(2))
    rows = rows_of(answers)
    # The duplicate of the first object is not primary.
    expected = forced_sources().query(f"objectId != {2**61 + 1}")
    expected = expected.sort_values(["objectId", "band", "visit"], ignore_index=True)
    assert rows["survey_object_id"].tolist() == expected["objectId"].astype(str).tolist()
    np.testing.assert_allclose(rows["native_value"], expected["psfFlux"])
    np.testing.assert_allclose(rows["flux_mjy"], expected["psfFlux"] * 1e-6)
    np.testing.assert_allclose(rows["flux_err_mjy"], expected["psfFluxErr"] * 1e-6)
    assert (rows["flux_mjy"] < 0).any()
    visit = (expected["visit"] - 2024111000001).to_numpy()
    assert rows["time_mjd"].tolist() == (60623.25 + visit).tolist()
    tdb = Time(rows["time_mjd"], format="mjd", scale="tai").tdb.mjd
    # The light takes at most 8.4 min from the Earth to the barycentre.
    assert np.abs(rows["time_mjd_tdb"] - tdb).max() < 8.4 / 1440
    assert set(rows["time_scale"]) == {"tai"}
    assert rows["quality"].tolist() == np.array([0, 1, 2, 0])[visit].tolist()
    flags = json.loads(rows["native_columns"][0])
    assert flags["psfFlux_flag"] is False
    assert len(flags) == 6
    assert rows["exposure_id"].tolist() == expected["visit"].astype(str).tolist()
    assert rows["survey_field"].tolist() == expected["detector"].astype(str).tolist()
    assert set(rows["exposure_s"]) == {30.0}
    assert set(rows["kind"]) == {"forced"}


def test_objects_are_listed_in_pieces(laboratory: Laboratory, tmp_path: Path) -> None:
    spec = service_spec(laboratory, "rubin", limits={"objects_per_query": 1})
    ask(spec, tmp_path, *positions(2))
    targets = [record["targets"] for record in laboratory.log("rubin")]
    # Each list is asked for and counted.
    assert targets[1:] == [[str(2**61)]] * 2 + [[str(2**61 + 2)]] * 2


def test_probe_asks_for_the_nearest_object(laboratory: Laboratory, tmp_path: Path) -> None:
    ra_deg, dec_deg = ORIGIN_DEG
    probe = {"ra": ra_deg, "dec": dec_deg + 0.001, "radius_arcsec": 100.0}
    get_archive(service_spec(laboratory, "rubin", options={"probe": probe}), tmp_path).probe()
    assert laboratory.log("rubin")[-1]["targets"] == [str(2**61)]


def test_token_is_needed(
    laboratory: Laboratory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = service_spec(laboratory, "rubin", auth={"token_env": "RSP_TOKEN"})
    monkeypatch.setenv("RSP_TOKEN", "wrong")
    with pytest.raises(AuthenticationError, match="token is not valid"):
        ask(spec, tmp_path, *positions(2))
    monkeypatch.delenv("RSP_TOKEN")
    with pytest.raises(AuthenticationError, match="RSP_TOKEN"):
        ask(spec, tmp_path, *positions(2))
