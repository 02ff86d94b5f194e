"""Fetches of a few targets from one archive of the laboratory, and what the server saw of them."""

import hashlib
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from laboratory import Laboratory
from lightloom.config import ArchiveSpec, DaskConfig, load_run
from lightloom.errors import ArchiveError
from lightloom.fetch import fetch_shard
from lightloom.schema import SHARD
from project import REPOSITORY

#: A service archive, and the server that it is asked of.
SERVICES = {
    "fermigbm": "heasarc",
    "hcv": "hcv",
    "icecube": "heasarc",
    "k2": "mast",
    "kepler": "mast",
    "nsc": "nsc",
    "rubin": "rubin",
    "saxgrbm": "heasarc",
    "tess": "mast",
    "xmm": "heasarc",
}

#: So that a fault is over in a moment: no waits to speak of, and a few targets in a request.
HASTY = {
    "requests_per_s": 1000,
    "concurrent_requests": 4,
    "timeout_s": 60,
    "attempts": 2,
    "longest_wait_s": 0.05,
    "breaker_failures": 1000,
    "poll_s": 0.02,
    "targets_per_query": 3,
    "objects_per_query": 2,
}

#: What the part depends on.
KEY = {"shard_hash": "1", "settings_hash": "2", "code_hash": "3"}

_TARGETS_OF_A_KIND = 4


def load_spec(name: str, laboratory: Laboratory, limits: dict[str, Any]) -> ArchiveSpec:
    """The entry of an archive, asked of the laboratory."""
    config: dict[str, Any] = {}
    for file in ("archives.yaml", "config.yaml", "sky/embedded.yaml"):
        _lay_over(config, yaml.safe_load((REPOSITORY / "config" / file).read_text()))
    embedded = f"http://127.0.0.1:{config['services']['sky']['port']}"
    options = config["archives"][name]
    options["endpoint"] = options["endpoint"].replace(embedded, laboratory.base)
    options["limits"] = limits
    spec = load_run(config).archives[name]
    # Other copies would let the faults of the server go unnoticed.
    return replace(spec, copies={}, footprint="")


def _lay_over(config: dict[str, Any], changes: dict[str, Any]) -> None:
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(config.get(key), dict):
            _lay_over(config[key], value)
        else:
            config[key] = value


def shard_for(name: str, sky: Path, n_of_a_kind: int = _TARGETS_OF_A_KIND) -> pa.Table:
    """Targets of the sky for one archive: some of each state, ordered as in a shard."""
    states = pd.read_parquet(sky / "truth" / "states.parquet")
    states = states[states["archive"] == name]
    chosen = states.groupby("state").head(n_of_a_kind)["objectid"]
    places = pd.concat(
        [
            pd.read_csv(sky / "awkward.csv"),
            pd.read_csv(REPOSITORY / "config/samples/yang2018.csv").rename(columns={"name": "id"}),
        ]
    ).drop_duplicates("id")
    places = places[places["id"].isin(set(chosen))].sort_values("id")
    columns = {
        "objectid": places["id"],
        "ra_deg": places["ra"],
        "dec_deg": places["dec"],
        "_healpix_29": np.arange(len(places)),
    }
    nothing = pa.nulls(len(places), pa.float64())
    return pa.table(
        [
            pa.array(columns[field.name], field.type) if field.name in columns else nothing
            for field in SHARD
        ],
        schema=SHARD,
    )


@dataclass
class ServiceRun:
    """Fetches of one shard, in a folder of their own.

    Attributes
    ----------
    folder : Path
    spec : ArchiveSpec
    dask_config : DaskConfig
    """

    folder: Path
    spec: ArchiveSpec
    dask_config: DaskConfig = field(default_factory=lambda: DaskConfig("threads"))

    def fetch(self, shard: pa.Table, **limits: Any) -> ArchiveError | None:
        """Fetch as a job does, and return the error that it would end with."""
        self.folder.mkdir(parents=True, exist_ok=True)
        pq.write_table(shard, self.folder / "allsky.parquet")
        try:
            fetch_shard(
                shard_path=self.folder / "allsky.parquet",
                part_path=self.part,
                status_path=self._status,
                spec=replace(self.spec, limits=self.spec.limits | limits),
                key=KEY,
                dask_config=self.dask_config,
                threads=2,
                mem_mb=2000,
                allow_partial=True,
            )
        except ArchiveError as error:
            return error
        return None

    @property
    def part(self) -> Path:
        """The light curves."""
        return self.folder / "parts" / "0.parquet"

    @property
    def _status(self) -> Path:
        return self.folder / "parts" / "0.status.json"

    @property
    def status(self) -> dict[str, Any]:
        """What the status tells."""
        return json.loads(self._status.read_text())

    @property
    def states(self) -> dict[str, str]:
        """The state of each target."""
        targets = self.status["targets"]
        return dict(zip(targets["objectid"], targets["state"], strict=True))

    @property
    def targets(self) -> list[dict[str, Any]]:
        """What the status says of each target."""
        columns = json.loads(self._status.read_text())["targets"]
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    @property
    def digest(self) -> str:
        """Digest of the light curves."""
        return hashlib.sha256(self.part.read_bytes()).hexdigest()
