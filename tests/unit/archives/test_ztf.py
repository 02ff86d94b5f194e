"""ZTF: light curves as the archive has written them."""

import numpy as np
import pyarrow.parquet as pq
import pytest
from small_archives import REAL, search, shipped_entry, spec_of, write_hats

from lightloom.config import ArchiveSpec

FILE = REAL / "ztf" / "ztf_000250_zg_c01_q1_dr5.parquet"

pytestmark = pytest.mark.skipif(
    not FILE.exists(), reason="needs ../shared/real/ztf, a real file of light curves"
)


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> ArchiveSpec:
    """The archive for the real file, laid out as a catalogue."""
    table = pq.read_table(FILE)
    root = write_hats(tmp_path_factory.mktemp("ztf") / "lc", table, ra="objra", dec="objdec")
    entry = shipped_entry("ztf", root, radius_arcsec=0.1)
    # The bulk files hold lists side by side, the catalogue of today in a struct.
    columns = {
        role: name.removeprefix("lightcurve.") if isinstance(name, str) else name
        for role, name in entry["columns"].items()
    }
    return spec_of(entry, columns=columns | {"extra": ["clrcoeff"]})


def test_every_epoch_of_every_object_is_found(spec: ArchiveSpec) -> None:
    table = pq.read_table(FILE)
    rows, sources = search(
        spec,
        table["objra"].to_numpy().astype(float).tolist(),
        table["objdec"].to_numpy().astype(float).tolist(),
    )
    assert len(sources) == 5449
    assert rows.num_rows == 106_588
    flags = rows["flags_native"].to_numpy()
    assert np.sum(flags < 32768) == 98_209
    assert np.sum(rows["quality"].to_numpy() < 2) == 98_209


def test_a_light_curve_in_mjy(spec: ArchiveSpec) -> None:
    rows = search(spec, [41.418724], [-26.236076])[0].to_pandas()
    assert set(rows["survey_object_id"]) == {"250101100000002"}
    kept = rows[rows["quality"] < 2].sort_values("time_mjd")
    assert (len(rows), len(kept)) == (96, 83)
    assert kept["native_value"].median() == pytest.approx(15.75186, abs=5e-6)
    assert kept["flux_mjy"].median() == pytest.approx(1.816587, rel=1e-6)
    assert kept["flux_mjy"].iloc[0] == pytest.approx(1.873120, rel=1e-6)
    # The expected error is half the difference of the fluxes at mag - magerr and mag + magerr.
    assert kept["flux_err_mjy"].iloc[0] == pytest.approx(0.028928, rel=1e-4)
    assert set(kept["band"]) == {"g"}
