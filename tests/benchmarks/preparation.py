"""What is made before the searches, each in a process of its own.

``python preparation.py JOB.json RESULT.json``
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import astropy.units as u
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from kinds import KINDS
from methods import RADIUS_ARCSEC, Question, core_columns, product_columns
from minimum import minimum_bytes

from lightloom.schema import SHARD
from lightloom.sky.dense import DenseSize, Layout, build_dense
from lightloom.sky.geometry import coordinates, healpix_cells
from lightloom.sky.targets import draw_targets

_LARGEST_OFFSET_ARCSEC = 0.7

#: Distances that are closer to each other, or to the radius, are not compared.
_DOUBT_ARCSEC = 0.1


def build(job: dict[str, Any]) -> dict[str, Any]:
    """Write the dense catalogues."""
    build_dense(
        Path(job["folder"]),
        DenseSize(**job["size"]),
        Layout(job["layout"]),
        job["row_group_rows"],
        job["seed"],
    )
    return {}


def ask(job: dict[str, Any]) -> dict[str, Any]:
    """Draw the targets of a question and compute the fewest bytes in which its answer can be read.

    There is one number for the columns of the workflow, and one for those of the other methods.
    """
    _draw(Path(job["objects"]), job)
    question = Question.of(job)
    spec = question.spec
    return {
        "product": minimum_bytes(question, product_columns(spec)),
        "core": minimum_bytes(question, core_columns(spec)),
    }


def _draw(objects: Path, job: dict[str, Any]) -> None:
    """Write targets near objects, as a table and as a shard of the workflow."""
    columns = KINDS[job["kind"]].object_columns
    table = _clear_targets(objects, columns, job["n_targets"], job["seed"])
    table.to_parquet(job["targets"], index=False)
    shard = table.assign(
        objectid=table["number"].astype(str),
        ra_deg=table["ra"],
        dec_deg=table["dec"],
        _healpix_29=healpix_cells(table["ra"], table["dec"], 29),
    ).sort_values(["_healpix_29", "objectid"])
    columns = [
        pa.array(shard[field.name], field.type)
        if field.name in shard
        else pa.nulls(len(shard), field.type)
        for field in SHARD
    ]
    pq.write_table(pa.table(columns, schema=SHARD), job["shard"])


def _clear_targets(
    catalogue: Path, columns: Sequence[str], n_targets: int, seed: int
) -> pd.DataFrame:
    """Return targets of which every method can tell which objects match, and which is nearest.

    The reference computes distances of positions in single precision with single precision, which
    is wrong by up to 0.05 arcsec.
    """
    ra, dec, *band = columns
    drawn = draw_targets(
        catalogue,
        int(1.5 * n_targets) + 10,
        seed,
        max_offset_arcsec=_LARGEST_OFFSET_ARCSEC,
        ra=ra,
        dec=dec,
    )
    objects = ds.dataset(catalogue / "dataset").to_table(list(columns))
    ra_deg, dec_deg = (objects[name].to_numpy().astype(np.float64) for name in (ra, dec))
    pairs = coordinates(ra_deg, dec_deg).search_around_sky(
        coordinates(drawn["ra"], drawn["dec"]), (RADIUS_ARCSEC + _DOUBT_ARCSEC) * u.arcsec
    )
    near = pd.DataFrame(
        {
            "target": pairs[0],
            "arcsec": pairs[2].arcsec,
            **{name: objects[name].to_numpy()[pairs[1]] for name in band},
        }
    ).sort_values(["target", *band, "arcsec"])
    closeness = near.groupby(["target", *band])["arcsec"].diff()
    doubtful = (near["arcsec"] > RADIUS_ARCSEC - _DOUBT_ARCSEC) | (closeness < _DOUBT_ARCSEC)
    clear = drawn.drop(index=near.loc[doubtful, "target"].unique())[["ra", "dec"]]
    if len(clear) < n_targets:
        raise ValueError(f"{catalogue}: {len(clear)} clear targets found, expected {n_targets}")
    # The drawn targets are in the order of the catalogue: its last ones would be missing.
    chosen = clear.sample(n_targets, random_state=seed).reset_index(drop=True)
    return chosen.rename_axis("number").reset_index()


ACTIONS = {"build": build, "ask": ask}

if __name__ == "__main__":
    job_path, result_path = map(Path, sys.argv[1:])
    chosen = json.loads(job_path.read_text())
    result_path.write_text(json.dumps(ACTIONS[chosen["action"]](chosen)))
