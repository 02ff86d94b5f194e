"""TAP archives at a real TAP server, DaCHS: the rows are those that the laboratory gives."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import dachs
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import requests
from service_runs import HASTY, ServiceRun, load_spec, shard_for

from laboratory import Laboratory
from lightloom.catalogs.geometry import separation_arcsec
from lightloom.config import ArchiveSpec
from lightloom.plan import services_path
from lightloom.schema import SHARD
from lightloom.services.folders import archive_folder

pytestmark = pytest.mark.skipif(bool(dachs.missing()), reason=dachs.missing())

#: What another server of the same tables needs: their names have schemas, TIME is a reserved word.
OPTIONS: dict[str, dict[str, Any]] = {
    "fermigbm": {"table": "heasarc.fermigtrig", "quote": ["time"]},
    "icecube": {"table": "heasarc.icecubepsc", "quote": ["time"]},
    "nsc": {},
    "rubin": {},
    "saxgrbm": {"table": "heasarc.saxgrbmgrb", "quote": ["time"]},
    "xmm": {"table": "heasarc.xmmssc", "quote": ["time"]},
}

TABLES = {
    "nsc_dr2": ("nsc/nsc_dr2.", ["object", "meas", "exposure"]),
    "heasarc": ("heasarc/", ["fermigtrig", "icecubepsc", "saxgrbmgrb", "xmmssc"]),
    "dp1": ("rubin/dp1.", ["Object", "ForcedSource", "Visit"]),
}

LIMITS = HASTY | {"timeout_s": 120}

#: Queries that are answered at once, in pieces, and queries that are jobs of the server.
WAYS = {
    "at once": {"sync_targets": 1_000_000, "targets_per_query": 40, "objects_per_query": 20},
    "job": {"sync_targets": 0, "targets_per_query": 1000, "objects_per_query": 1000},
}

MANY_TARGETS = 50_000

#: Memory of a worker [kB].
MOST_KB = 500_000

#: The shard of the processes that are weighed and killed.
PART = "norder0-npix0"

FETCHING = Path(__file__).parents[1] / "unit" / "fetching_process.py"


@pytest.fixture(scope="module")
def tap_url(sky: Path) -> Iterator[str]:
    """The server, with the tables of the embedded sky and the limits that DaCHS has by default."""
    tables = {
        schema: {name: sky / "services" / f"{start}{name}.parquet" for name in names}
        for schema, (start, names) in TABLES.items()
    }
    with dachs.serve(tables) as url:
        yield url


@pytest.fixture
def spec_for(tap_url: str, laboratory: Laboratory) -> Callable[..., ArchiveSpec]:
    """The entry of an archive, asked of DaCHS."""

    def spec(name: str, **limits: Any) -> ArchiveSpec:
        entry = load_spec(name, laboratory, LIMITS | limits)
        return replace(entry, endpoint=tap_url, options=entry.options | OPTIONS[name])

    return spec


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", OPTIONS)
def test_rows_are_those_of_the_laboratory(
    spec_for: Callable[..., ArchiveSpec],
    laboratory: Laboratory,
    sky: Path,
    tmp_path: Path,
    name: str,
    way: str,
) -> None:
    limits = WAYS[way]
    shard = shard_for(name, sky, n_of_a_kind=1000)
    runs = [
        ServiceRun(tmp_path / "laboratory", load_spec(name, laboratory, LIMITS | limits)),
        ServiceRun(tmp_path / "dachs", spec_for(name, **limits)),
    ]
    for run in runs:
        assert run.fetch(shard) is None
    expected, found = runs
    assert found.states == expected.states
    assert {"data", "searched_empty"} <= set(found.states.values())
    if name == "rubin":
        # DaCHS publishes its truth values as 0 and 1.
        rows, expected_rows = (pd.read_parquet(run.part) for run in (found, expected))
        for table in (rows, expected_rows):
            table["native_columns"] = table["native_columns"].map(json.loads)
        pd.testing.assert_frame_equal(rows, expected_rows)
    else:
        assert found.digest == expected.digest


def test_upload_that_is_too_large_is_asked_in_halves(
    spec_for: Callable[..., ArchiveSpec], sky: Path, tmp_path: Path
) -> None:
    # DaCHS takes 500 kB in a query that it answers at once, some 110 bytes for a target.
    spec = spec_for("saxgrbm", **WAYS["at once"] | {"targets_per_query": 10_000})
    shard = _targets_on_the_sky(10_000)
    run = ServiceRun(tmp_path, spec)
    assert run.fetch(shard) is None
    assert set(run.states.values()) == {"data", "searched_empty"}
    _assert_rows_are_whole(run.part, shard, sky / "services" / "heasarc" / "saxgrbmgrb.parquet")


def test_many_targets_in_little_memory(
    spec_for: Callable[..., ArchiveSpec], sky: Path, tmp_path: Path
) -> None:
    spec = spec_for("fermigbm", targets_per_query=4000, sync_targets=4000)
    shard = _targets_on_the_sky(MANY_TARGETS)
    with _fetching(spec, shard, tmp_path) as process:
        peak_kb = _peak_kb(process)
    assert process.returncode == 0
    assert peak_kb < MOST_KB
    triggers = sky / "services" / "heasarc" / "fermigtrig.parquet"
    _assert_rows_are_whole(tmp_path / f"{PART}.parquet", shard, triggers)


def test_many_rows_in_little_memory(
    spec_for: Callable[..., ArchiveSpec], sky: Path, tmp_path: Path
) -> None:
    spec = spec_for("nsc", targets_per_query=1000, objects_per_query=300, sync_targets=1000)
    objects = pd.read_parquet(sky / "services" / "nsc" / "nsc_dr2.object.parquet")
    chosen = np.random.default_rng(5).integers(0, len(objects), MANY_TARGETS)
    shard = _shard(*objects[["ra", "dec"]].to_numpy()[np.sort(chosen)].T)
    with _fetching(spec, shard, tmp_path) as process:
        peak_kb = _peak_kb(process)
    assert process.returncode == 0
    assert peak_kb < MOST_KB
    _assert_measurements_are_whole(tmp_path / f"{PART}.parquet", shard, sky / "services" / "nsc")


def test_job_of_a_killed_process_is_gone_on_with(
    spec_for: Callable[..., ArchiveSpec], tap_url: str, sky: Path, tmp_path: Path
) -> None:
    spec = spec_for("fermigbm", targets_per_query=MANY_TARGETS, sync_targets=0)
    # Else the job that the probe of the service is could be the one that is found running.
    run = ServiceRun(tmp_path, spec)
    assert run.fetch(_targets_on_the_sky(1)) is None
    folder = run.part.parent
    shard = _targets_on_the_sky(MANY_TARGETS)
    jobs_before = _jobs(tap_url)
    with _fetching(spec, shard, folder) as process:
        end_s = time.monotonic() + 60
        while not (running := _jobs(tap_url, "EXECUTING") - jobs_before):
            assert process.poll() is None
            assert time.monotonic() < end_s
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    state = archive_folder(services_path(run.part), spec)
    (record,) = (state / "jobs").glob("*.json")
    assert {json.loads(record.read_text())["url"].rpartition("/")[2]} == running
    with _fetching(spec, shard, folder) as process:
        seen = set()
        while process.poll() is None:
            seen |= _jobs(tap_url)
            time.sleep(0.02)
    assert process.returncode == 0
    assert seen - jobs_before == running
    # Its end deletes the job.
    assert _jobs(tap_url) == jobs_before
    assert not record.exists()
    triggers = sky / "services" / "heasarc" / "fermigtrig.parquet"
    _assert_rows_are_whole(folder / f"{PART}.parquet", shard, triggers)


def _targets_on_the_sky(n_targets: int) -> pa.Table:
    rng = np.random.default_rng(3)
    ra_deg = np.sort(rng.uniform(0, 360, n_targets))
    return _shard(ra_deg, np.degrees(np.arcsin(rng.uniform(-1, 1, n_targets))))


def _shard(ra_deg: np.ndarray, dec_deg: np.ndarray) -> pa.Table:
    n_targets = len(ra_deg)
    columns = {
        "objectid": [f"t{number:06d}" for number in range(n_targets)],
        "ra_deg": ra_deg,
        "dec_deg": dec_deg,
        "_healpix_29": np.arange(n_targets),
    }
    nothing = pa.nulls(n_targets, pa.float64())
    return pa.table([columns.get(name, nothing) for name in SHARD.names], schema=SHARD)


@contextmanager
def _fetching(
    spec: ArchiveSpec, shard: pa.Table, folder: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Fetch in a process, until it ends."""
    paths = {
        "shard_path": folder / "many.parquet",
        "part_path": folder / f"{PART}.parquet",
        "status_path": folder / f"{PART}.status.json",
    }
    pq.write_table(shard, paths["shard_path"])
    arguments = {
        "paths": {name: str(path) for name, path in paths.items()},
        "spec": spec.as_dict(),
        "key": {"shard_hash": "1"},
    }
    folders = os.pathsep.join(map(str, sys.path))
    with subprocess.Popen(
        [sys.executable, FETCHING, json.dumps(arguments)],
        env=os.environ | {"PYTHONPATH": folders},
    ) as process:
        try:
            yield process
        except BaseException:
            process.kill()
            raise


def _peak_kb(process: subprocess.Popen[bytes]) -> int:
    """Wait for a process, and return the most memory that it had in use [kB]."""
    peak_kb = 0
    while process.poll() is None:
        for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                peak_kb = int(line.split()[1])
        time.sleep(0.02)
    return peak_kb


def _jobs(tap_url: str, phase: str = "") -> set[str]:
    """Return the ids of the server's jobs, of one phase if one is named."""
    listed = ElementTree.fromstring(requests.get(f"{tap_url}/async", timeout=10).content)
    uws = "{http://www.ivoa.net/xml/UWS/v1.0}"
    return {
        job.attrib["id"]
        for job in listed.iter(f"{uws}jobref")
        if phase in ("", job.findtext(f"{uws}phase"))
    }


def _assert_rows_are_whole(part: Path, shard: pa.Table, events: Path) -> None:
    """Compare the events of targets with a search by brute force."""
    table = pd.read_parquet(events)
    id_column = "trigger_name" if "trigger_name" in table else "name"
    ra_deg, dec_deg = shard["ra_deg"].to_numpy(), shard["dec_deg"].to_numpy()
    objectids = shard["objectid"].to_numpy()
    expected = {
        (target, event[id_column])
        for _, event in table.iterrows()
        for target in objectids[
            separation_arcsec(ra_deg, dec_deg, event["ra"], event["dec"])
            <= event["error_radius"] * 3600
        ]
    }
    found = pq.read_table(part, columns=["objectid", "survey_object_id"]).to_pydict()
    pairs = list(zip(found["objectid"], found["survey_object_id"], strict=True))
    assert len(pairs) == len(expected) > 100
    assert set(pairs) == expected


def _assert_measurements_are_whole(part: Path, shard: pa.Table, tables: Path) -> None:
    """Compare the measurements of each target with those of all objects within 1 arcsec."""
    objects = pd.read_parquet(tables / "nsc_dr2.object.parquet")
    measured = pd.read_parquet(tables / "nsc_dr2.meas.parquet")["objectid"].value_counts()
    ra_deg, dec_deg = shard["ra_deg"].to_numpy(), shard["dec_deg"].to_numpy()
    expected = np.zeros(shard.num_rows, np.int64)
    for _, one in objects.iterrows():
        near = separation_arcsec(ra_deg, dec_deg, one["ra"], one["dec"]) <= 1.0
        expected[near] += measured.get(one["id"], 0)
    rows = pq.read_table(part, columns=["objectid", "native_columns"])
    found = rows.group_by("objectid").aggregate(
        [([], "count_all"), ("native_columns", "count_distinct")]
    )
    counts = dict(zip(found["objectid"].to_pylist(), found["count_all"].to_pylist(), strict=True))
    distinct = dict(
        zip(
            found["objectid"].to_pylist(),
            found["native_columns_count_distinct"].to_pylist(),
            strict=True,
        )
    )
    of_targets = [counts.get(target, 0) for target in shard["objectid"].to_pylist()]
    assert of_targets == expected.tolist()
    assert distinct == counts
