"""Searching a table of objects whose detections stand in a table of their own."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lightloom.catalogs.files import CatalogFile, Leaf
from lightloom.catalogs.geometry import FloatArray, IntArray
from lightloom.catalogs.layouts import Catalog, CatalogSpec, open_catalog, partition_files
from lightloom.catalogs.planning import Search, plan_searches
from lightloom.catalogs.search import SearchResult, check_names, match_partition
from lightloom.errors import ArchiveError, ArchiveSchemaError
from lightloom.reads import Reads


def search_joined(
    objects: CatalogSpec,
    detections: CatalogSpec,
    search: Search,
    radius_arcsec: float,
    *,
    join_radius_arcsec: float,
    object_columns: Sequence[str],
    columns: Sequence[str],
    most_rows: int | None = None,
    offset_arcsec: float = 0.0,
) -> SearchResult:
    """Return the detections of every object of a partition within the radius of a target.

    A detection belongs to an object if it carries the object's id and lies near it. It may stand in
    another partition than the object; every partition that the circle around the object touches is
    looked into.

    Parameters
    ----------
    objects, detections : CatalogSpec
        The tables; their ``object_id`` columns have the same values.
    search : Search
        The partition of the objects and its targets, from `plan_searches`.
    radius_arcsec : float
        Largest distance of an object from its target.
    join_radius_arcsec : float
        Largest distance of a detection from its object.
    object_columns, columns : sequence of str
        Columns of the objects and of the detections to return, none of them lists.
    most_rows : int, optional
        Detections in a file that there is memory for.
    offset_arcsec : float
        How far beside the targets to look for objects by chance; nowhere if 0.

    Returns
    -------
    SearchResult
        ``table`` has ``target``, ``match_arcsec`` (from the object to the target), the columns of
        the object and those of the detection, a row per detection; ordered by target, object id,
        partition of the detection, then as in its files. ``matches`` has a row per matched object,
        also of those without detections; of several rows with one id, the nearest to the target.

    Raises
    ------
    ArchiveSchemaError
        If a column is missing or has another type than it must have.
    DamagedFileError
        If a file is absent or cannot be decoded.
    TooLargeError
        If more than ``most_rows`` detections of a file match, before these are read.
    TransientArchiveError
        If a store broke off.
    ValueError
        If two columns asked for would have the same name in the result.
    """
    check_names([*object_columns, *columns])
    positions = [name for name in (objects.ra, objects.dec) if name not in object_columns]
    found = match_partition(
        objects,
        search,
        radius_arcsec,
        [*object_columns, *positions],
        offset_arcsec=offset_arcsec,
    )
    _refuse_lists(search.partition.path, found.leaves)
    pairs = _nearest_of_each_id(found.pairs)
    catalog = _opened(json.dumps(asdict(detections), sort_keys=True))
    pieces = [
        _piece(
            detections,
            one,
            found.sources[objects.object_id],
            join_radius_arcsec,
            columns,
            most_rows,
        )
        for one in _searches(catalog, objects, found.sources, join_radius_arcsec)
    ]
    if not pieces:
        pieces = [_nothing(catalog, search, join_radius_arcsec, columns)]
    ids = pc.unique(pairs["object_id"])
    detected, object_number = _by_object(pieces, ids)
    pair, row = _expanded(pc.index_in(pairs["object_id"], ids).to_numpy(), object_number)
    of_pair = pairs.take(pa.array(pair))
    table = of_pair.select(["target", "match_arcsec"])
    leaves = {leaf.name: leaf for leaf in found.leaves}
    for name in object_columns:
        table = table.append_column(
            leaves[name].output_name, found.sources[name].take(of_pair["source"])
        )
    for name, values in zip(detected.column_names, detected.columns, strict=True):
        table = table.append_column(name, values.take(pa.array(row)))
    plans = sorted({piece.plan for piece in pieces if piece.plan})
    return SearchResult(
        table=table,
        matches=pairs.select(["target", "object_id", "match_arcsec"]),
        reads=sum((piece.reads for piece in pieces), found.reads),
        plan="; ".join(
            [f"objects: {found.plan}", *([f"detections: {', '.join(plans)}"] if plans else [])]
        ),
        offsets=found.offsets,
    )


@dataclass(frozen=True)
class _Piece:
    """The detections of one partition: a row, an object id and a distance from it for each."""

    path: str
    detections: pa.Table
    object_id: pa.ChunkedArray
    separation_arcsec: FloatArray
    reads: Reads
    plan: str


# A job asks for the detections of many partitions of objects, and the list of partitions of a large
# catalogue is long.
@lru_cache(maxsize=4)
def _opened(spec: str) -> Catalog:
    catalog = open_catalog(CatalogSpec(**json.loads(spec)))
    if not catalog.partitions:
        raise ArchiveError(f"{catalog.spec.endpoint}: the catalogue lists no partition")
    return catalog


def _searches(
    catalog: Catalog, objects: CatalogSpec, sources: pa.Table, radius_arcsec: float
) -> list[Search]:
    """Return the searches for the detections around the objects."""
    ra_deg, dec_deg = (
        sources[name].cast(pa.float64()).to_numpy() for name in (objects.ra, objects.dec)
    )
    return plan_searches(catalog, ra_deg, dec_deg, radius_arcsec)[0]


def _piece(
    spec: CatalogSpec,
    search: Search,
    object_ids: pa.ChunkedArray,
    radius_arcsec: float,
    columns: Sequence[str],
    most_rows: int | None,
) -> _Piece:
    joined_ids = object_ids.take(pa.array(search.target)).combine_chunks()
    found = match_partition(spec, search, radius_arcsec, columns, joined_ids, most_rows)
    _refuse_lists(search.partition.path, found.leaves)
    # Rows of one object id, each with its position, may all be near a detection.
    source = found.pairs["source"].to_numpy()
    separation = np.full(found.sources.num_rows, np.inf)
    np.minimum.at(separation, source, found.pairs["match_arcsec"].to_numpy())
    leaves = {leaf.name: leaf for leaf in found.leaves}
    return _Piece(
        search.partition.path,
        pa.table({leaves[name].output_name: found.sources[name] for name in columns}),
        found.sources[spec.object_id],
        separation,
        found.reads,
        found.plan,
    )


def _nothing(
    catalog: Catalog, search: Search, radius_arcsec: float, columns: Sequence[str]
) -> _Piece:
    """Return no detections, typed as in a partition by the targets."""
    spec = catalog.spec
    by_targets, _ = plan_searches(catalog, search.ra_deg, search.dec_deg, radius_arcsec)
    partition = by_targets[0].partition if by_targets else catalog.partitions[0]
    path = partition_files(partition, spec.storage_options)[0]
    with CatalogFile(path, spec.storage_options, spec.page_mb) as file:
        leaves = [file.leaf(name) for name in columns]
        object_id = file.leaf(spec.object_id)
        _refuse_lists(path, leaves)
        return _Piece(
            path,
            pa.schema([(leaf.output_name, leaf.type) for leaf in leaves]).empty_table(),
            pa.chunked_array([], object_id.type),
            np.empty(0),
            file.source.reads,
            "",
        )


def _nearest_of_each_id(pairs: pa.Table) -> pa.Table:
    """Drop all but the nearest row of each object id of a target, in the same order."""
    by_distance = pairs.sort_by(
        [(name, "ascending") for name in ("target", "object_id", "match_arcsec", "source")]
    )
    numbered = by_distance.append_column("row", pa.array(np.arange(pairs.num_rows)))
    first = numbered.group_by(["target", "object_id"], use_threads=False).aggregate(
        [("row", "min")]
    )
    return by_distance.take(np.sort(first["row_min"].to_numpy()))


def _by_object(pieces: Sequence[_Piece], ids: pa.Array) -> tuple[pa.Table, IntArray]:
    """Return the detections of all partitions ordered by object, and the object's number of each.

    A row that is found in several partitions is there for their margins: it is kept once.
    """
    for piece in pieces:
        if piece.detections.schema != pieces[0].detections.schema:
            raise ArchiveSchemaError(
                f"{piece.path}: columns {_types(piece)}, expected {_types(pieces[0])} as in "
                f"{pieces[0].path}"
            )
    detections = pa.concat_tables([piece.detections for piece in pieces])
    number = np.concatenate(
        [pc.index_in(piece.object_id, ids).to_numpy().astype(np.int64) for piece in pieces]
    )
    partition = np.repeat(np.arange(len(pieces)), [piece.detections.num_rows for piece in pieces])
    separation = np.concatenate([piece.separation_arcsec for piece in pieces])
    kept = ~_repeated(detections, number, partition, separation)
    by_object = np.flatnonzero(kept)[np.argsort(number[kept], kind="stable")]
    return detections.take(pa.array(by_object)), number[by_object]


def _repeated(
    detections: pa.Table, number: IntArray, partition: IntArray, separation: FloatArray
) -> npt.NDArray[np.bool_]:
    """Tell which rows have been found, with all their values, in an earlier partition."""
    repeated = np.zeros(len(number), bool)
    lowest = np.full(number.max(initial=-1) + 1, len(partition))
    np.minimum.at(lowest, number, partition)
    highest = np.zeros_like(lowest)
    np.maximum.at(highest, number, partition)
    at_borders = np.flatnonzero((lowest < highest)[number])
    first_seen: dict[str, int] = {}
    for row, values in zip(
        at_borders, detections.take(pa.array(at_borders)).to_pylist(), strict=True
    ):
        # As text, since NaN differs from itself.
        content = repr((number[row], separation[row], *values.values()))
        repeated[row] = first_seen.setdefault(content, partition[row]) != partition[row]
    return repeated


def _expanded(pair_number: IntArray, object_number: IntArray) -> tuple[IntArray, IntArray]:
    """Return, pair by pair, every row of the pair's object; ``object_number`` ascends."""
    first = np.searchsorted(object_number, pair_number, side="left")
    count = np.searchsorted(object_number, pair_number, side="right") - first
    pair = np.repeat(np.arange(len(pair_number)), count)
    rank = np.arange(len(pair)) - np.repeat(np.cumsum(count) - count, count)
    return pair, first[pair] + rank


def _refuse_lists(path: str, leaves: Sequence[Leaf]) -> None:
    for leaf in leaves:
        if leaf.is_list:
            raise ArchiveSchemaError(
                f"{path}: column {leaf.name!r} has type {leaf.type}, expected one value per row"
            )


def _types(piece: _Piece) -> str:
    return ", ".join(f"{field.name} {field.type}" for field in piece.detections.schema)
