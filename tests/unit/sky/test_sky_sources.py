"""How the sources of the embedded sky vary, and how the surveys see them."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightloom.sky import unwise, ztf
from lightloom.sky.sources import AGN, CONSTANT, RR_LYRAE, Source, Variability, source_table

DAYS_MJD = np.arange(55_000.0, 60_600.0)

ra_degs = st.floats(0.0, 360.0, exclude_max=True)
dec_degs = st.floats(-90.0, 90.0)


def test_agn_vary_as_damped_random_walks() -> None:
    walks = [Variability(AGN, f"agn-{i}", 1).delta_mag(DAYS_MJD, "r") for i in range(40)]
    spread = np.mean([walk.std() for walk in walks])
    assert 0.1 < spread < 0.3
    lags_d = [1, 10, 100]
    structure = [np.mean([np.mean((w[lag:] - w[:-lag]) ** 2) for w in walks]) for lag in lags_d]
    # Far below the damping time the structure function of a random walk grows with the lag.
    assert structure[1] / structure[0] == pytest.approx(10.0, rel=0.15)
    assert structure[1] < structure[2] < 10.0 * structure[1]


def test_dust_answers_late() -> None:
    variability = Variability(AGN, "agn-0", 1)
    optical, infrared = (variability.delta_mag(DAYS_MJD, band) for band in ("r", "W1"))
    lags_d = np.arange(-400, 401, 20)
    correlation = [
        np.corrcoef(optical[500:-500], infrared[500 + lag : len(infrared) - 500 + lag])[0, 1]
        for lag in lags_d
    ]
    assert 60 <= lags_d[int(np.argmax(correlation))] <= 360
    assert max(correlation) > 0.8


def test_rr_lyrae_repeat_and_constants_do_not_vary() -> None:
    variability = Variability(RR_LYRAE, "star", 1)
    times_mjd = 58_300.0 + np.linspace(0.0, 30.0, 3_000)
    assert np.ptp(variability.delta_mag(times_mjd, "g")) == pytest.approx(1.0, abs=0.02)
    assert np.ptp(variability.delta_mag(times_mjd, "i")) == pytest.approx(0.6, abs=0.02)
    assert not Variability(CONSTANT, "star", 1).delta_mag(times_mjd, "g").any()


@settings(deadline=None)
@given(st.lists(st.tuples(ra_degs, dec_degs), min_size=1, max_size=20), st.sampled_from([0, 1]))
def test_every_position_has_a_field_and_a_readout_channel(
    positions: list[tuple[float, float]], grid: int
) -> None:
    ra_deg, dec_deg = (np.array(values) for values in zip(*positions, strict=True))
    looks = ztf.pointings(ra_deg, dec_deg, grid)
    assert looks["source"].tolist() == list(range(len(positions)))
    assert looks["rcid"].between(0, 63).all()
    assert looks["fieldid"].between(*((245, 1244), (1245, 2244))[grid]).all()
    assert looks["field_ra_deg"].between(0.0, 360.0, inclusive="left").all()


@settings(deadline=None)
@given(st.lists(st.tuples(ra_degs, dec_degs), min_size=1, max_size=20))
def test_every_position_has_one_primary_coadd(positions: list[tuple[float, float]]) -> None:
    ra_deg, dec_deg = (np.array(values) for values in zip(*positions, strict=True))
    tiles = unwise.tile_of(ra_deg, dec_deg)
    assert tiles[tiles["primary"] == 1]["source"].tolist() == list(range(len(positions)))
    assert not tiles.duplicated(["source", "row", "column"]).any()


def test_a_position_at_a_tile_edge_is_in_two_coadds() -> None:
    ra_deg, dec_deg = unwise.tile_edge(275.5, 33.0)
    tiles = unwise.tile_of(np.array([ra_deg]), np.array([dec_deg]))
    assert sorted(tiles["primary"]) == [0, 1]


def test_measurements_scatter_as_their_errors_say() -> None:
    sources = source_table([Source(name="star", ra_deg=150.0, dec_deg=20.0, w1_mag=16.0)])
    rng = np.random.default_rng(1)
    objects = pd.DataFrame({"source": [0], "filterid": [2], "objra": [150.0], "objdec": [20.0]})
    exposures = pd.DataFrame({"object": 0, "exposure_mjd": np.linspace(58300, 60000, 20_000)})
    epochs = ztf.measure(exposures, objects, sources, 0.0, rng)
    pull = (epochs["mag"] - 18.2) / epochs["magerr"]
    assert pull.mean() == pytest.approx(0.0, abs=0.03)
    assert pull.std() == pytest.approx(1.0, abs=0.03)
    assert (epochs["catflags"] & ztf.FLAG_CLOUDS_OR_MOON).astype(bool).mean() == pytest.approx(
        0.04, abs=0.01
    )
