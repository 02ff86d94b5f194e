"""Targets moved by their proper motion."""

import numpy as np
import pyarrow as pa
import pytest

from lightloom.motion import positions_at
from lightloom.schema import SHARD


def test_moving_and_resting_targets() -> None:
    shard = pa.table(
        {
            "objectid": ["resting", "moving", "over the pole"],
            "ra_deg": [10.0, 359.9999, 0.0],
            "dec_deg": [20.0, 60.0, 89.9999],
            "pmra_masyr": [None, 10_000.0, 0.0],
            "pmdec_masyr": [None, -10_000.0, 100_000.0],
            "parallax_mas": [None, None, None],
            "ref_epoch_jyear": [2000.0, 2000.0, 2000.0],
            "_healpix_29": [0, 0, 0],
        },
        schema=SHARD,
    )
    ra_deg, dec_deg = positions_at(shard, 2010.0)
    assert (ra_deg[0], dec_deg[0]) == (10.0, 20.0)
    # 100 arcsec in each direction; ra grows by 1 / cos(dec) and passes through 0.
    assert dec_deg[1] == pytest.approx(60.0 - 100 / 3600, abs=1e-4)
    assert ra_deg[1] == pytest.approx(
        359.9999 + 100 / 3600 / np.cos(np.radians(60)) - 360, abs=1e-4
    )
    assert ra_deg[2] == pytest.approx(180.0, abs=1e-6)
