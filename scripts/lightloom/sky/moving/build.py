"""Writing the moving objects of the embedded sky."""

import shutil
from importlib.resources import files
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from astropy.time import Time

from lightloom.sky.moving.alerts import (
    FIRST_MJD,
    LAST_MJD,
    SCHEMA,
    SITE,
    AlertNumbers,
    draw_alerts,
)
from lightloom.sky.moving.bodies import TABLE, bundled, main_solutions
from lightloom.sky.moving.matches import compare_all, ephemerides
from lightloom.sky.moving.observers import JD_OF_MJD, SITES
from lightloom.sky.moving.packets import write_packets

#: The folder of the alerts, partitioned by month.
ALERTS = "alerts.parquet"
OBJECTS = "objects.csv"
#: What the servers hold: for `tests/laboratory/services/horizons.py` and `kowalski.py`.
HORIZONS_OBJECTS = "horizons/objects.csv"
KOWALSKI_ALERTS = "kowalski/ZTF_alerts.parquet"

_ROW_GROUP_ROWS = 128
_STEP_D = 8.0
_N_PACKETS = 12


def write_moving(output: Path, services: Path, seed: int, numbers: AlertNumbers) -> None:
    """Write the objects, their alerts, what a matching must find, and what the servers hold.

    Parameters
    ----------
    output : pathlib.Path
        The folder to write.
    services : pathlib.Path
        The folder of the servers' tables.
    seed : int
        Seed of the sky.
    numbers : AlertNumbers
        How many alerts.
    """
    output.mkdir(parents=True)
    table = Path(str(files(__package__) / TABLE))
    for path in (output / OBJECTS, services / HORIZONS_OBJECTS):
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(table, path)
    bodies = main_solutions(bundled())
    alerts = draw_alerts(bodies, seed, numbers)
    write_alerts(output / ALERTS, alerts)
    (services / KOWALSKI_ALERTS).parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(
        pa.Table.from_pandas(alerts, SCHEMA, preserve_index=False), services / KOWALSKI_ALERTS
    )
    matches = compare_all(bodies, alerts)
    truth = output / "truth"
    truth.mkdir()
    utc_mjd = np.arange(FIRST_MJD, LAST_MJD, _STEP_D)
    for name, content in (
        ("matches", matches),
        ("ephemerides", ephemerides(bodies, [SITE, SITES["500"]], utc_mjd)),
    ):
        pq.write_table(
            pa.Table.from_pandas(content, preserve_index=False), truth / f"{name}.parquet"
        )
    of_objects = alerts["candid"].isin(matches["candid"])
    some = np.flatnonzero(of_objects)[:: max(1, of_objects.sum() // _N_PACKETS)]
    write_packets(output / "avro", alerts.iloc[some[:_N_PACKETS]])


def write_alerts(folder: Path, alerts: pd.DataFrame, row_group_rows: int = _ROW_GROUP_ROWS) -> None:
    """Write alerts as ``month=YYYY-MM/part-0.parquet``, each sorted by cell.

    Parameters
    ----------
    folder : pathlib.Path
        The folder to write.
    alerts : pandas.DataFrame
        Columns of `lightloom.sky.moving.alerts.SCHEMA`, sorted by ``_healpix_29``.
    row_group_rows : int, optional
        Most rows of a row group.
    """
    # Days are few, their names slow to make.
    days, index = np.unique(
        np.floor(alerts["jd"].to_numpy() - JD_OF_MJD).astype(int), return_inverse=True
    )
    names = np.array([text[:7] for text in Time(days, format="mjd").isot])
    months, number = np.unique(names, return_inverse=True)
    month_of_alert = number[index]
    table = pa.Table.from_pandas(alerts, SCHEMA, preserve_index=False)
    for i, month in enumerate(months):
        path = folder / f"month={month}" / "part-0.parquet"
        path.parent.mkdir(parents=True)
        pq.write_table(
            table.take(np.flatnonzero(month_of_alert == i)), path, row_group_size=row_group_rows
        )
