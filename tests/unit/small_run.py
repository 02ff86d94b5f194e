"""Small runs, written as the workflow writes them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cdshealpix.nested
import numpy as np
import pyarrow as pa
from astropy import units as u
from astropy.coordinates import Latitude, Longitude

from lightloom.merge import Part, merge_ledger, merge_shard
from lightloom.schema import LIGHTCURVE, SAMPLE, SHARD
from lightloom.storage import sha256_file, write_json, write_table

KEY = {"shard_hash": "5a", "settings_hash": "5e", "code_hash": "c0"}


def lightcurve_row(objectid: str, archive: str, **values: Any) -> dict[str, Any]:
    """A complete row of ``LIGHTCURVE``."""
    return {
        "objectid": objectid,
        "archive": archive,
        "band": "g",
        "time_mjd": 58000.0,
        "time_scale": "utc",
        "time_ref": "heliocentre",
        "time_mjd_tdb": 58000.001,
        "flux_mjy": 0.1,
        "flux_err_mjy": 0.01,
        "native_value": 18.9,
        "native_err": 0.1,
        "native_unit": "mag",
        "mag_system": "AB",
        "flags_native": 0,
        "quality": 0,
        "kind": "detection",
        "survey_object_id": "1",
        "match_arcsec": 0.2,
        **values,
    }


@dataclass
class SmallRun:
    """A results folder filled shard by shard."""

    results: Path
    catalogue: tuple[str, ...] = ("unwise", "ztf")
    shards: dict[str, pa.Table] = field(default_factory=dict)

    def path(self, stage: str, shard: str) -> Path:
        return self.results / stage / f"{shard}.parquet"

    def add_shard(self, name: str, targets: Mapping[str, tuple[float, float]]) -> Path:
        """Write a shard of targets: objectid -> (ra, dec) in degrees."""
        ra_deg, dec_deg = np.array(list(targets.values()), float).reshape(-1, 2).T
        cells = cdshealpix.nested.lonlat_to_healpix(
            Longitude(ra_deg * u.deg), Latitude(dec_deg * u.deg), 29
        )
        nothing = pa.nulls(len(targets), pa.float64())
        table = pa.table(
            {
                "objectid": list(targets),
                "ra_deg": ra_deg,
                "dec_deg": dec_deg,
                **dict.fromkeys(SHARD.names[3:-1], nothing),
                "_healpix_29": cells.astype(np.int64),
            }
        )
        table = table.sort_by([("_healpix_29", "ascending"), ("objectid", "ascending")])
        self.shards[name] = table
        write_table(self.path("shards", name), table, SHARD)
        return self.path("shards", name)

    def objectids(self, shard: str) -> list[str]:
        return self.shards[shard].column("objectid").to_pylist()

    def add_part(
        self,
        archive: str,
        shard: str,
        rows: Sequence[Mapping[str, Any]],
        states: Mapping[str, str] | None = None,
        messages: Mapping[str, tuple[str, str]] | None = None,
    ) -> Part:
        """Write a part; states not given follow from the rows."""
        objectids = self.objectids(shard)
        counts = [sum(row["objectid"] == o for row in rows) for o in objectids]
        state = {
            o: "data" if n else "searched_empty" for o, n in zip(objectids, counts, strict=True)
        }
        state |= states or {}
        ordered = sorted(
            rows, key=lambda r: (objectids.index(r["objectid"]), r["band"], r["time_mjd"])
        )
        complete = [{n: row.get(n) for n in LIGHTCURVE.names} for row in ordered]
        part = Part(
            archive,
            self.results / "parts" / archive / f"{shard}.parquet",
            self.results / "parts" / archive / f"{shard}.status.json",
            KEY,
        )
        write_table(part.path, pa.Table.from_pylist(complete, schema=LIGHTCURVE), LIGHTCURVE)
        messages = messages or {}
        status = {
            "archive": archive,
            "shard": shard,
            "key": KEY,
            "release": f"{archive}-dr1",
            "version": "0.1.0",
            "targets": {
                "objectid": objectids,
                "state": [state[o] for o in objectids],
                "n_rows": counts,
                "n_sources": [int(n > 0) for n in counts],
                "match_arcsec": [0.2 if n else None for n in counts],
                "n_offsets": [2] * len(objectids),
                "n_offset_matches": [0] * len(objectids),
                "error_class": [messages.get(o, (None, None))[0] for o in objectids],
                "message": [messages.get(o, (None, None))[1] for o in objectids],
            },
            "part": {"sha256": sha256_file(part.path), "bytes": part.path.stat().st_size},
            "reads": {"requests": 4, "bytes": 4096, "rows": len(rows), "seconds": 0.5},
            "places": ["aws (s3://bucket/survey, us-east-1)"],
            "retrieved_utc": "2026-01-01T00:00:00Z",
        }
        write_json(part.status_path, status)
        return part

    def edit_status(self, part: Part, /, **changes: Any) -> None:
        status = json.loads(part.status_path.read_text())
        for name, value in changes.items():
            if name in status["targets"]:
                status["targets"][name] = value
            else:
                status[name] = value
        write_json(part.status_path, status)

    def merge(self, shard: str, parts: Sequence[Part], *, allow_partial: bool = False) -> Path:
        merge_shard(
            shard_path=self.path("shards", shard),
            parts=parts,
            catalogue=self.catalogue,
            lightcurves_path=self.path("lightcurves", shard),
            ledger_path=self.path("ledger", shard),
            allow_partial=allow_partial,
        )
        return self.path("lightcurves", shard)

    def finish(self, labels: Mapping[str, list[str]] | None = None) -> tuple[Path, Path]:
        """Write sample and ledger of all shards; return their paths."""
        labels = labels or {}
        samples = []
        for name, shard in self.shards.items():
            objectids = shard.column("objectid").to_pylist()
            columns = {
                "labels": [labels.get(o, []) for o in objectids],
                "source_ids": [[o] for o in objectids],
            }
            for column, values in columns.items():
                shard = shard.append_column(column, pa.array(values, pa.list_(pa.string())))
            samples.append(shard.append_column("shard", pa.array([name] * len(objectids))))
        sample_path = self.results / "sample" / "sample.parquet"
        write_table(sample_path, pa.concat_tables(samples), SAMPLE)
        ledger_path = self.results / "ledger.parquet"
        merge_ledger(
            pieces=[self.path("ledger", name) for name in self.shards],
            sample_path=sample_path,
            catalogue=self.catalogue,
            ledger_path=ledger_path,
        )
        return sample_path, ledger_path
