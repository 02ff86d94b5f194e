"""Light curves in bins: weighted means, and nothing else."""

import json
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightloom.schema import TARGET_ROWS
from lightloom.services.binning import bin_rows

DAY_S = 86400.0
POINTS = st.lists(
    st.tuples(
        st.one_of(st.none(), st.floats(58000, 58030)),
        st.one_of(st.none(), st.floats(-1e5, 1e5, allow_subnormal=False)),
        st.one_of(st.none(), st.floats(1e-3, 1e3)),
        st.integers(0, 2),
        st.integers(0, 7),
    ),
    max_size=60,
)


def rows_of(points: list[tuple[Any, Any, Any, int, int]]) -> pa.Table:
    n_rows = len(points)
    time, value, error, quality, flags = (
        list(column) for column in (zip(*points, strict=True) if points else [[]] * 5)
    )
    # As everywhere: without a brightness a row is bad.
    quality = [2 if one is None else level for one, level in zip(value, quality, strict=True)]
    columns: dict[str, Any] = {
        "target": [3] * n_rows,
        "band": ["TESS"] * n_rows,
        "time_mjd": time,
        "time_scale": ["tdb"] * n_rows,
        "time_ref": ["barycentre"] * n_rows,
        "time_mjd_tdb": time,
        "native_value": value,
        "native_err": error,
        "native_unit": ["electron/s"] * n_rows,
        "flags_native": flags,
        "quality": quality,
        "kind": ["detection"] * n_rows,
        "survey_object_id": ["TIC 1"] * n_rows,
        "exposure_s": [120.0] * n_rows,
        "native_columns": ['{"author":"SPOC"}'] * n_rows,
    }
    return pa.table(
        {name: columns.get(name, [None] * n_rows) for name in TARGET_ROWS.names},
        schema=TARGET_ROWS,
    )


@settings(deadline=None)
@given(POINTS, st.sampled_from([120.0, 1800.0, DAY_S, 30 * DAY_S]))
def test_bins_are_the_weighted_means_of_the_usable_points(points: list, bin_s: float) -> None:
    rows = rows_of(points)
    binned = bin_rows(rows, bin_s)
    assert binned.schema.equals(TARGET_ROWS)
    usable = rows.to_pandas().query("quality < 2 and time_mjd.notna()")
    weighted = usable["native_err"].notna().any()
    if weighted:
        usable = usable[usable["native_err"].notna()]
    groups = usable.groupby(np.floor_divide(usable["time_mjd"] * DAY_S, bin_s))
    assert binned.num_rows == len(groups)
    for (_, group), found in zip(groups, binned.to_pylist(), strict=True):
        weights = group["native_err"] ** -2.0 if weighted else None
        mean = np.average(group["native_value"], weights=weights)
        scale = group["native_value"].abs().max()
        assert found["native_value"] == pytest.approx(mean, rel=1e-9, abs=1e-9 * scale)
        time_mjd = np.average(group["time_mjd"], weights=weights)
        assert found["time_mjd"] == pytest.approx(time_mjd, abs=1e-9)
        assert found["native_err"] == (
            pytest.approx(weights.sum() ** -0.5, rel=1e-9) if weighted else None
        )
        assert found["flags_native"] == np.bitwise_or.reduce(group["flags_native"])
        assert found["quality"] == group["quality"].max()
        assert found["exposure_s"] == 120.0 * len(group)
        assert json.loads(found["native_columns"]) == {"author": "SPOC", "n_points": len(group)}
        assert found["kind"] == "detection"


def test_error_of_a_mean_is_that_of_its_scatter() -> None:
    rng = np.random.default_rng(5)
    errors = rng.uniform(0.5, 5.0, 20_000)
    values = 100.0 + errors * rng.normal(size=errors.size)
    times = 58000.0 + np.repeat(np.arange(1000), 20) + 0.01 * np.tile(np.arange(20), 1000)
    points = [(t, v, e, 0, 0) for t, v, e in zip(times, values, errors, strict=True)]
    binned = bin_rows(rows_of(points), DAY_S).to_pandas()
    pulls = (binned["native_value"] - 100.0) / binned["native_err"]
    assert len(binned) == 1000
    assert pulls.std() == pytest.approx(1.0, abs=0.07)
    assert pulls.mean() == pytest.approx(0.0, abs=0.1)


def test_order_of_the_points_does_not_matter() -> None:
    points = [(58000 + 0.1 * n, float(n), 1.0 + n % 3, 0, 0) for n in range(50)]
    shuffled = [points[n] for n in np.random.default_rng(2).permutation(50)]
    pd.testing.assert_frame_equal(
        bin_rows(rows_of(points), DAY_S).to_pandas(),
        bin_rows(rows_of(shuffled), DAY_S).to_pandas(),
    )
