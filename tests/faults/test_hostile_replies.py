"""Archives' replies are data: what would harm a trusting client ends in a failed state, no more."""

import json
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from service_runs import HASTY, SERVICES, ServiceRun, load_spec, shard_for

from laboratory import Laboratory
from lightloom.schema import LIGHTCURVE, STATES

#: Less than any hostile reply has, unpacked, and more than all others have [MB].
REPLY_MB = 8

#: Hostile replies, the class of the failure, and what the message says.
XML = {
    "entities": ("permanent", "declares entities"),
    "external_entity": ("permanent", "declares entities"),
    "rows": ("permanent", "announces 4000000000 rows"),
    "nested_xml": ("transient", "damaged document"),
}
JSON = {
    "nested_json": ("schema_changed", "cannot be read"),
    "long_number": ("schema_changed", "cannot be read"),
    "negative_counts": ("schema_changed", "expected numbers from 0|are missing"),
    "other_shapes": ("schema_changed", "expected a list|expected dict"),
}
ANY = {
    "packed": ("permanent", "limits.reply_mb, 8 MB"),
    "endless": ("permanent", "limits.reply_mb, 8 MB"),
    "to_a_file": ("bad_request", "file:///etc/passwd"),
    "to_no_address": ("bad_request", "Invalid IPv6 URL"),
}
#: Kinds of service: TAP at once, pages of JSON, a portal with FITS files.
CASES = [
    *(("nsc", "^/tap", reply) for reply in XML | ANY),
    *(("hcv", "", reply) for reply in JSON | ANY),
    *(("tess", "invoke", reply) for reply in JSON | ANY),
    *(("tess", "Download", reply) for reply in ("endless", "packed", "entities")),
]


@pytest.fixture
def hostile(laboratory: Laboratory) -> Iterator[Laboratory]:
    yield laboratory
    laboratory.faults([])


@pytest.fixture(scope="module")
def shards(sky: Path) -> dict[str, pa.Table]:
    return {name: shard_for(name, sky, 1) for name in ("nsc", "hcv", "tess", "xmm")}


def run_of(folder: Path, name: str, laboratory: Laboratory, **limits: Any) -> ServiceRun:
    limits = HASTY | {"attempts": 1, "reply_mb": REPLY_MB} | limits
    return ServiceRun(folder, load_spec(name, laboratory, limits))


@pytest.mark.parametrize(("name", "path", "reply"), CASES)
def test_hostile_reply(
    hostile: Laboratory,
    shards: dict[str, pa.Table],
    tmp_path: Path,
    name: str,
    path: str,
    reply: str,
) -> None:
    rule = {"service": SERVICES[name], "path": path, "action": "hostile", "reply": reply}
    run = run_of(tmp_path, name, hostile)
    hostile.faults([rule])
    run.fetch(shards[name])
    expected_class, expected = (XML | JSON | ANY)[reply]
    failures = [row for row in run.targets if row["state"] in ("failed", "truncated")]
    assert failures
    for row in failures:
        if path != "Download":
            assert re.fullmatch(expected_class, row["error_class"]), row
            assert re.search(expected, row["message"]), row
        assert len(row["message"]) < 1000
    assert "root:" not in json.dumps(run.targets)
    assert pq.read_table(run.part).schema.equals(LIGHTCURVE)


#: Values that are replaced in all rows of a service; those of the last ones name or place sources.
ABSURD = [
    ("nsc", ["mjd", "mag_auto", "magerr_auto", "exptime", "fwhm"]),
    ("xmm", ["time", "ep_8_flux", "ep_8_flux_error"]),
    ("hcv", ["MJD", "CorrMag", "MagErr", "Mag", "CI", "D"]),
    ("nsc", ["ra", "dec"]),
    ("xmm", ["ra", "dec", "name"]),
    ("hcv", ["MatchRA", "MatchDec", "Filter", "ImageName"]),
    ("tess", ["s_ra", "s_dec", "t_exptime", "target_name"]),
    ("tess", ["provenance_name", "description", "productFilename"]),
    ("hcv", []),
    ("tess", []),
    ("nsc", []),
    ("xmm", []),
]


def test_one_hostile_reply_spoils_no_other(hostile: Laboratory, sky: Path, tmp_path: Path) -> None:
    shard = shard_for("nsc", sky)
    rule = {"service": "nsc", "path": "sync", "nth": 3, "action": "hostile", "reply": "entities"}
    run = run_of(tmp_path, "nsc", hostile)
    hostile.faults([rule])
    run.fetch(shard)
    states = Counter(run.states.values())
    assert 0 < states["failed"] < shard.num_rows
    hostile.faults([])
    assert run.fetch(shard) is None
    assert "failed" not in run.states.values()


# What a job meets in absurd numbers stands in its log; here it would be an error.
@pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::erfa.ErfaWarning")
@pytest.mark.parametrize(("name", "columns"), ABSURD)
def test_absurd_values(
    hostile: Laboratory,
    shards: dict[str, pa.Table],
    tmp_path: Path,
    name: str,
    columns: list[str],
) -> None:
    run = run_of(tmp_path, name, hostile)
    hostile.faults([{"service": SERVICES[name], "action": "absurd_values", "columns": columns}])
    run.fetch(shards[name])
    assert set(run.states.values()) <= set(STATES)
    rows = pq.read_table(run.part)
    assert rows.schema.equals(LIGHTCURVE)
    times = rows["time_mjd_tdb"].drop_null().to_numpy()
    assert np.all(np.abs(times) < 1e6)
    assert set(rows["objectid"].to_pylist()) <= set(shards[name]["objectid"].to_pylist())
    # Nothing of a reply has become the name of a file.
    assert {path.name for path in tmp_path.iterdir()} <= {".services", "parts", "allsky.parquet"}


def test_one_hostile_file_spoils_no_other(
    laboratory: Laboratory, sky: Path, tmp_path: Path
) -> None:
    catalogue = tmp_path / "ztf"
    shutil.copytree(sky / "ztf_dr24_lc-hats", catalogue)
    shard = shard_for("ztf", sky, 30)
    spec = load_spec("ztf", laboratory, {"page_mb": 32, "mem_mb": 1500})
    run = ServiceRun(tmp_path / "run", replace(spec, endpoint=str(catalogue)))
    assert run.fetch(shard) is None
    expected = run.states
    files = sorted(catalogue.rglob("*.parquet"), key=lambda path: pq.read_metadata(path).num_rows)
    put_bomb_into(files[-1])
    again = replace(run, folder=tmp_path / "again")
    again.fetch(shard)
    failed = [row for row in again.targets if row["state"] == "failed"]
    assert 0 < len(failed) < shard.num_rows
    for row in failed:
        assert row["error_class"] == "permanent"
        assert re.search(
            rf"{re.escape(str(files[-1]))}: found a page of \d+ MB, unpacked, in column"
            r" 'lightcurve\.mag\S* \(\d{4} bytes in the file\), expected at most 32 MB,"
            " as limits.page_mb says",
            row["message"],
        )
    others = {name: state for name, state in again.states.items() if state != "failed"}
    assert others == {name: expected[name] for name in others}


def put_bomb_into(file: Path) -> None:
    """Let every list of magnitudes be long, and of zeros: a page of many MB in a few bytes."""
    table = pq.read_table(file, partitioning=None)
    curves = table["lightcurve"].combine_chunks()
    names = [field.name for field in curves.type]
    magnitudes = curves.type.field("mag").type.value_type
    offsets = np.linspace(0, 10_000_000, len(curves) + 1).astype(np.int32)
    zeros = pa.array(np.zeros(offsets[-1]), magnitudes)
    fields = [
        pa.ListArray.from_arrays(offsets, zeros) if name == "mag" else curves.field(name)
        for name in names
    ]
    place = table.column_names.index("lightcurve")
    bomb = pa.StructArray.from_arrays(fields, names)
    pq.write_table(
        table.set_column(place, "lightcurve", bomb),
        file,
        compression="zstd",
        use_dictionary=False,
        write_page_index=True,
        data_page_size=1 << 30,
        max_rows_per_page=1 << 30,
    )
