"""What a method is asked, what it returns, and how the rows of two methods are compared."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import yaml
from kinds import KINDS, Kind

from lightloom.archives.measurements import measurements_of
from lightloom.config import ArchiveSpec, load_run
from lightloom.config_checks import payload_columns

RADIUS_ARCSEC = 1.0

_CORE_ROLES = ("band", "time", "value", "error", "value_over_error", "flags")

_CONFIG = Path(__file__).parents[2] / "config"


@dataclass(frozen=True)
class Question:
    """Everything that a method needs.

    Attributes
    ----------
    kind : Kind
    catalogue : str
        Root of the catalogue: a path or an address.
    detections : str
        Root of the catalogue of the detections, if they stand in one of their own.
    storage_options : dict
        Options of the fsspec file system.
    targets : pandas.DataFrame
        ``number``, ``ra`` and ``dec`` (degrees, ICRS).
    shard : pathlib.Path
        The same targets as a shard of the workflow; the ids are the numbers.
    scratch : pathlib.Path
        An empty folder.
    spec : ArchiveSpec
        The archive's entry in the catalogue of archives, with this endpoint and `RADIUS_ARCSEC`. It
        is read before the clock starts: a job of the workflow is told it.
    """

    kind: Kind
    catalogue: str
    detections: str
    storage_options: dict[str, Any]
    targets: pd.DataFrame
    shard: Path
    scratch: Path
    spec: ArchiveSpec

    @classmethod
    def of(cls, job: Mapping[str, Any]) -> Self:
        """Read it from a job's description."""
        return cls(
            KINDS[job["kind"]],
            job["catalogue"],
            job["detections"],
            job["storage_options"],
            pd.read_parquet(job["targets"]),
            Path(job["shard"]),
            Path(job["scratch"]),
            _spec(job),
        )

    def about_one_target(self) -> Self:
        """Return the same question about the first target of the shard only."""
        shard = pq.read_table(self.shard).slice(0, 1)
        path = self.scratch / "one-target.parquet"
        pq.write_table(shard, path)
        is_first = self.targets["number"] == int(shard["objectid"][0].as_py())
        return replace(self, targets=self.targets[is_first].reset_index(drop=True), shard=path)


def _spec(job: Mapping[str, Any]) -> ArchiveSpec:
    config: dict[str, Any] = {}
    for name in ("config.yaml", "archives.yaml"):
        config |= yaml.safe_load((_CONFIG / name).read_text())
    options: dict[str, Any] = {
        "enabled": True,
        "endpoint": job["catalogue"],
        "storage_options": job["storage_options"],
        "radius_arcsec": RADIUS_ARCSEC,
    }
    if job["detections"]:
        options["detections"] = {"endpoint": job["detections"]}
    name = job["kind"]
    config["archives"] = {name: options}
    return load_run(config).archives[name]


@dataclass(frozen=True)
class Found:
    """What a method has found.

    Attributes
    ----------
    rows : callable
        Gives ``target`` (number), ``band`` (name), ``time``, ``value`` and ``separation_arcsec``,
        one row per epoch; it is called when the measurement is over.
    accounted : dict
        What the method itself says of it.
    """

    rows: Callable[[], pd.DataFrame]
    accounted: dict[str, Any]


def bare(column: str) -> str:
    """Return the name of a nested column once it is flattened."""
    return column.rpartition(".")[2]


def product_columns(spec: ArchiveSpec) -> list[str]:
    """Return the columns that the workflow reads of a matched source."""
    return payload_columns(spec.columns, spec.bands)


def core_columns(spec: ArchiveSpec) -> list[str]:
    """Return the columns of a light curve, which all other methods read."""
    columns = [spec.columns["object_id"]]
    for measured in measurements_of(spec):
        columns += [measured.columns[role] for role in _CORE_ROLES if role in measured.columns]
    return list(dict.fromkeys(columns))


def light_curves(found: pd.DataFrame, spec: ArchiveSpec) -> pd.DataFrame:
    """Return what `Found.rows` gives, from the columns of the catalogue.

    Parameters
    ----------
    found : pandas.DataFrame
        ``target``, ``separation_arcsec`` and the columns of a light curve, by the last part of
        their names; a row per epoch.
    spec : ArchiveSpec
    """
    kinds = measurements_of(spec)
    frames = []
    for measured in kinds:
        time, value = (
            found[bare(measured.columns[role])].to_numpy(np.float64, na_value=np.nan).copy()
            for role in ("time", "value")
        )
        for numbers in (time, value):
            numbers[np.isin(numbers, spec.missing)] = np.nan
        if "band" in measured.columns:
            codes = found[bare(measured.columns["band"])].to_numpy(np.int64)
            names = {int(code): band["name"] for code, band in measured.bands.items()}
            band = pd.Series(codes).map(names).to_numpy(object)
        else:
            (only,) = measured.bands.values()
            band = np.full(len(found), only["name"], object)
        rows = pd.DataFrame(
            {
                "target": found["target"].to_numpy(np.int64),
                "band": band,
                "time": time + spec.time["offset_days"],
                "value": value,
                "separation_arcsec": found["separation_arcsec"].to_numpy(np.float64),
            }
        )
        # As in the products: a row of several bands need not have observed each of them.
        observed = rows["time"].notna() | rows["value"].notna() | (len(kinds) == 1)
        frames.append(rows[observed])
    return pd.concat(frames, ignore_index=True)


def compare_on(kind: Kind, rows: pd.DataFrame) -> dict[str, Any]:
    """Return what must be equal for two methods that have found the same rows.

    Parameters
    ----------
    kind : Kind
    rows : pandas.DataFrame
        As `Found.rows` gives them.

    Returns
    -------
    dict
        On the reference's rule: number of rows, sum of the hashes of target, band, time and value
        (modulo 2**64), and the sum of the values in each band.
    """
    rows = pd.DataFrame(
        {
            "target": rows["target"].to_numpy(np.int64),
            "band": rows["band"].to_numpy(object),
            "time": rows["time"].to_numpy(np.float64),
            "value": rows["value"].to_numpy(np.float32),
            "separation_arcsec": rows["separation_arcsec"].to_numpy(np.float64),
        }
    )
    if kind.nearest_in:
        nearest = rows.groupby(list(kind.nearest_in))["separation_arcsec"].transform("min")
        rows = rows[rows["separation_arcsec"] == nearest]
    compared = rows[["target", "band", "time", "value"]]
    hashes = pd.util.hash_pandas_object(compared, index=False).to_numpy(np.uint64)
    flux_sums = rows["value"].astype(np.float64).groupby(rows["band"]).sum()
    return {
        "rows": len(rows),
        "key_sum": int(hashes.sum(dtype=np.uint64)),
        "flux_sums": {band: float(total) for band, total in sorted(flux_sums.items())},
    }
