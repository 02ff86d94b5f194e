"""Rows of all tables merged into distinct targets."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from lightloom.sample.coordinates import FloatArray, unit_vectors
from lightloom.sample.rejects import BadCell
from lightloom.schema import EXTRA_COLUMNS, SAMPLE, SHARD, SOURCE_ROWS, conform

#: The sample before it is cut into shards.
TARGETS = SAMPLE.remove(SAMPLE.get_field_index("shard")).append(SOURCE_ROWS.field("source_rows"))

MERGED = pa.schema(
    [
        ("objectid", pa.string()),
        ("source_row", pa.string()),
        ("merged_id", pa.string()),
        ("merged_source_row", pa.string()),
        ("separation_arcsec", pa.float64()),
    ]
)

#: The sky's order, then the values, so that the order of the rows in a file decides nothing.
_ORDER = [
    "_healpix_29",
    *(name for name in SHARD.names if name != "_healpix_29"),
    "source",
    "row",
]


@dataclass(frozen=True)
class Merged:
    """Distinct targets.

    Attributes
    ----------
    targets : pyarrow.Table
        In the schema ``TARGETS``, sorted by ``_healpix_29`` and ``objectid``.
    merged : pyarrow.Table
        One row for each row that was merged into a target, in the schema ``MERGED``.
    extra_columns : pyarrow.Table
        The further columns of each row that has some, in the schema ``EXTRA_COLUMNS``.
    bad : list of BadCell
        Ids that stand at several places; their rows are not in the targets.
    """

    targets: pa.Table
    merged: pa.Table
    extra_columns: pa.Table
    bad: list[BadCell]


def sort_targets(targets: pa.Table) -> pa.Table:
    """Sort targets as shards hold them.

    Parameters
    ----------
    targets : pyarrow.Table
        With the columns ``_healpix_29`` and ``objectid``.

    Returns
    -------
    pyarrow.Table
        The rows ascending in ``_healpix_29``, then in ``objectid`` (by code points).
    """
    return targets.sort_by([("_healpix_29", "ascending"), ("objectid", "ascending")])


def merge_rows(rows: pa.Table, merge_radius_arcsec: float) -> Merged:
    """Merge rows that lie together into targets.

    Rows within the radius of each other are one target, and so are rows that are linked by others
    (friends of friends). The target is the row that comes first by ``_healpix_29``, then by
    ``objectid``; it keeps the labels, ids and source rows of all.

    Parameters
    ----------
    rows : pyarrow.Table
        In the schema ``lightloom.sample.table.ROWS``.
    merge_radius_arcsec : float
        With 0 only rows with the same id and the same coordinates are merged.

    Returns
    -------
    Merged
    """
    rows = rows.sort_by([(name, "ascending") for name in _ORDER]).combine_chunks()
    bad: list[BadCell] = []
    target = _group(rows, merge_radius_arcsec)
    # Without the rows set aside, others may no longer be linked.
    while conflicts := _conflicting_ids(rows, target, merge_radius_arcsec):
        bad += conflicts.values()
        rows = rows.take(np.setdiff1d(np.arange(rows.num_rows), list(conflicts)))
        target = _group(rows, merge_radius_arcsec)
    first = np.unique(target, return_index=True)[1]
    targets = rows.take(first).select(SHARD.names)
    labels = pa.chunked_array([rows["label"].combine_chunks(), rows["row_label"].combine_chunks()])
    lists = {
        "labels": _lists(np.tile(target, 2), labels),
        "source_rows": _lists(target, _source_rows(rows), rows["source"], rows["row"]),
        "source_ids": _lists(target, rows["objectid"]),
    }
    for name, values in lists.items():
        targets = targets.append_column(name, values)
    targets = conform(targets, TARGETS, "sample")
    return Merged(targets, _merges(rows, first[target]), _extra_columns(rows, first[target]), bad)


def _group(rows: pa.Table, merge_radius_arcsec: float) -> NDArray[np.intp]:
    """Return the number of each row's target, in the order of the targets' first rows."""
    ra_deg, dec_deg = rows["ra_deg"].to_numpy(), rows["dec_deg"].to_numpy()
    # Rows at one place are one node, so that many of them do not pair with each other.
    places, place = np.unique(ra_deg + 1j * dec_deg, return_inverse=True)
    group: NDArray[np.signedinteger]
    if merge_radius_arcsec > 0:
        group = _friends(unit_vectors(places.real, places.imag), merge_radius_arcsec)[place]
    else:
        ids = rows["objectid"].combine_chunks().dictionary_encode().indices.to_numpy()
        group = np.unique(place * (len(ids) + 1) + ids, return_inverse=True)[1]
    _, first, inverse = np.unique(group, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.intp)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse]


def _friends(vectors: FloatArray, radius_arcsec: float) -> NDArray[np.int32]:
    """Return the number of each vector's group, linked by separations up to the radius."""
    chord = 2 * np.sin(np.deg2rad(radius_arcsec / 3600) / 2)
    pairs = cKDTree(vectors).query_pairs(chord, output_type="ndarray")
    links = coo_array((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), (len(vectors),) * 2)
    group: NDArray[np.int32] = connected_components(links, directed=False)[1]
    return group


def _conflicting_ids(
    rows: pa.Table, target: NDArray[np.intp], merge_radius_arcsec: float
) -> dict[int, BadCell]:
    """Return the rows whose id also stands at another target, by their place in the table."""
    places, others = _conflicting_pairs(rows["objectid"], target)
    columns = rows.select(["source", "row", "id_column", "objectid"])
    expected = f"one place for an id, within {merge_radius_arcsec:g} arcsec"
    conflicts = {}
    for place, row, other, distance_arcsec in zip(
        places.tolist(),
        columns.take(pa.array(places)).to_pylist(),
        columns.take(pa.array(others)).to_pylist(),
        _separation_arcsec(rows, places, others).tolist(),
        strict=True,
    ):
        where = f"{other['source']}, row {other['row']}, {distance_arcsec:.2f} arcsec away"
        hint = "; a column of ids or a larger merge_radius_arcsec tells them apart"
        conflicts[place] = BadCell(
            row["source"],
            row["row"],
            row["id_column"],
            f"{row['objectid']!r}, also in {where}",
            expected if row["id_column"] else expected + hint,
        )
    return conflicts


def _conflicting_pairs(
    ids: pa.ChunkedArray, target: NDArray[np.intp]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the rows whose id also stands at another target, and for each a row over there."""
    encoded = ids.combine_chunks().dictionary_encode()
    code = encoded.indices.to_numpy()
    head = np.unique(code, return_index=True)[1]
    elsewhere = target != target[head[code]]
    strays = np.flatnonzero(elsewhere)
    codes, first = np.unique(code[strays], return_index=True)
    stray = np.full(len(head), -1, dtype=np.intp)
    stray[codes] = strays[first]
    places = np.flatnonzero(stray[code] >= 0)
    others = np.where(elsewhere[places], head[code[places]], stray[code[places]])
    return places, others


def _separation_arcsec(
    rows: pa.Table, left: NDArray[np.intp], right: NDArray[np.intp]
) -> FloatArray:
    vectors = unit_vectors(rows["ra_deg"].to_numpy(), rows["dec_deg"].to_numpy())
    chord = np.linalg.norm(vectors[left] - vectors[right], axis=-1)
    arcsec: FloatArray = np.rad2deg(2 * np.arcsin(chord / 2)) * 3600
    return arcsec


def _source_rows(rows: pa.Table) -> pa.ChunkedArray:
    return pc.binary_join_element_wise(rows["source"], rows["row"].cast(pa.string()), ":")


def _lists(
    target: NDArray[np.intp], values: pa.ChunkedArray, *order: pa.ChunkedArray
) -> pa.ListArray:
    """Collect the distinct values of each target, sorted by ``order``, then by value; no nulls."""
    keys = {f"order_{number}": key for number, key in enumerate(order)}
    table = pa.table({"target": target, **keys, "value": values})
    table = table.filter(pc.is_valid(table["value"]))
    distinct = table.group_by(table.column_names).aggregate([])
    distinct = distinct.sort_by([(name, "ascending") for name in table.column_names])
    counts = np.bincount(distinct["target"].to_numpy(), minlength=target.max(initial=-1) + 1)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    return pa.ListArray.from_arrays(
        pa.array(offsets, pa.int32()), distinct["value"].combine_chunks()
    )


def _merges(rows: pa.Table, kept: NDArray[np.intp]) -> pa.Table:
    """List the rows that were merged into another, ``kept`` being the place of that other."""
    merged = np.flatnonzero(kept != np.arange(len(kept)))
    source_rows = _source_rows(rows)
    columns = [
        rows["objectid"].take(kept[merged]),
        source_rows.take(kept[merged]),
        rows["objectid"].take(merged),
        source_rows.take(merged),
        _separation_arcsec(rows, kept[merged], merged),
    ]
    return pa.table(columns, schema=MERGED).sort_by(
        [("objectid", "ascending"), ("merged_source_row", "ascending")]
    )


def _extra_columns(rows: pa.Table, kept: NDArray[np.intp]) -> pa.Table:
    """List the further columns of the rows, ``kept`` being the place of each row's target."""
    columns = [rows["objectid"].take(kept), rows["source"], rows["row"], rows["extra_columns"]]
    table = pa.table(columns, names=EXTRA_COLUMNS.names)
    table = table.filter(pc.is_valid(table["extra_columns"]))
    return table.sort_by([(name, "ascending") for name in ("source", "row")])
