"""Searching one partition of a catalogue: positions, match, then the rows of what matched."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lightloom.catalogs.files import CatalogFile, Key, Leaf
from lightloom.catalogs.geometry import FINEST_ORDER, FloatArray, IntArray, Neighbourhoods
from lightloom.catalogs.layouts import CatalogSpec, partition_files
from lightloom.catalogs.offsets import Offsets
from lightloom.catalogs.page_ranges import PageRangeReader, has_page_index, limited_leaves
from lightloom.catalogs.planning import Search
from lightloom.catalogs.row_groups import RowGroupReader
from lightloom.errors import ArchiveSchemaError, DamagedFileError, TooLargeError
from lightloom.reads import Reads


@dataclass(frozen=True)
class SearchResult:
    """What one partition holds within the radius of the targets.

    Attributes
    ----------
    table : pyarrow.Table
        ``target`` (int64), ``match_arcsec`` (float64) and the columns asked for: a row per matched
        source or, if list columns were asked for, per element of its lists. Ordered by target, then
        object id, then as in the files.
    matches : pyarrow.Table
        ``target``, ``object_id`` (as typed in the file) and ``match_arcsec``: a row per matched
        source, in the same order. A source with empty lists is here and not in ``table``.
    reads : Reads
    plan : str
        The way of reading that was chosen from the metadata of the files.
    offsets : pyarrow.Table
        ``OFFSETS``: whether there is a source at positions beside the targets.
    """

    table: pa.Table
    matches: pa.Table
    reads: Reads
    plan: str
    offsets: pa.Table


def search_partition(
    spec: CatalogSpec,
    search: Search,
    radius_arcsec: float,
    columns: Sequence[str],
    most_rows: int | None = None,
    offset_arcsec: float = 0.0,
) -> SearchResult:
    """Return every source of a partition within the radius of a target.

    Parameters
    ----------
    spec : CatalogSpec
    search : Search
        The partition and its targets, from `plan_searches`.
    radius_arcsec : float
        Largest great-circle distance of a source from its target.
    columns : sequence of str
        Columns to return. A field of a struct column is asked for as ``struct.field`` and returned
        as ``field``.
    most_rows : int, optional
        Rows that there is memory for.
    offset_arcsec : float
        How far beside the targets to look for matches by chance; nowhere if 0.

    Returns
    -------
    SearchResult

    Raises
    ------
    ArchiveSchemaError
        If a column is missing or has another type than it must have.
    DamagedFileError
        If a file is absent or cannot be decoded, or its list columns differ in length.
    TooLargeError
        If more than ``most_rows`` rows are expected of the matches, before these are read.
    TransientArchiveError
        If the store broke off.
    ValueError
        If two columns asked for would have the same name in the result.
    """
    check_names(columns)
    found = match_partition(
        spec, search, radius_arcsec, columns, most_rows=most_rows, offset_arcsec=offset_arcsec
    )
    leaves = {leaf.name: leaf for leaf in found.leaves}
    return SearchResult(
        table=_rows(found.pairs, found.sources, [leaves[name] for name in columns]),
        matches=found.pairs.select(["target", "object_id", "match_arcsec"]),
        reads=found.reads,
        plan=found.plan,
        offsets=found.offsets,
    )


@dataclass(frozen=True)
class Matches:
    """The matched sources of a partition, and the pairs of a target and a source.

    Attributes
    ----------
    leaves : list of Leaf
        The columns of ``sources``.
    sources : pyarrow.Table
        Object id and the columns asked for, a row per matched source.
    pairs : pyarrow.Table
        ``target``, ``match_arcsec``, ``source`` (row of ``sources``) and ``object_id``, ordered by
        target, object id and source.
    reads : Reads
    plan : str
    offsets : pyarrow.Table
        ``OFFSETS``
    """

    leaves: list[Leaf]
    sources: pa.Table
    pairs: pa.Table
    reads: Reads
    plan: str
    offsets: pa.Table


def match_partition(
    spec: CatalogSpec,
    search: Search,
    radius_arcsec: float,
    columns: Sequence[str],
    joined_ids: pa.Array | None = None,
    most_rows: int | None = None,
    offset_arcsec: float = 0.0,
) -> Matches:
    """Return the sources of a partition within the radius of a target, and their columns.

    Parameters
    ----------
    spec, search, radius_arcsec, columns, most_rows, offset_arcsec
        As for `search_partition`.
    joined_ids : pyarrow.Array, shape (n_targets,), optional
        The object id that a source must have to match each target of the search.

    Returns
    -------
    Matches
    """
    paths = partition_files(search.partition, spec.storage_options)
    offsets = Offsets.beside(search, offset_arcsec)
    files = [
        _search_file(spec, path, search, offsets, radius_arcsec, columns, joined_ids, most_rows)
        for path in paths
    ]
    schema = files[0].sources.schema
    for path, file in zip(paths, files, strict=True):
        if file.sources.schema != schema:
            raise ArchiveSchemaError(
                f"{path}: columns {_types(file.sources.schema)}, expected {_types(schema)} as in "
                f"{paths[0]}"
            )
    sources = pa.concat_tables([file.sources for file in files])
    first = np.cumsum([0, *(file.sources.num_rows for file in files)])
    pairs = pa.table(
        {
            "target": search.target[np.concatenate([file.target for file in files])],
            "match_arcsec": np.concatenate([file.match_arcsec for file in files]),
            "source": np.concatenate(
                [file.source + start for file, start in zip(files, first, strict=False)]
            ),
        }
    )
    pairs = pairs.append_column("object_id", sources[spec.object_id].take(pairs["source"]))
    return Matches(
        leaves=files[0].leaves,
        sources=sources,
        pairs=pairs.sort_by([(name, "ascending") for name in ("target", "object_id", "source")]),
        reads=sum((file.reads for file in files), Reads()),
        plan=", ".join(sorted({file.plan for file in files})),
        offsets=offsets.table(np.concatenate([file.matched_offset for file in files])),
    )


@dataclass(frozen=True)
class _FileMatches:
    """The matched sources of a file, and the pairs of a source and a target."""

    leaves: list[Leaf]
    sources: pa.Table
    source: IntArray
    target: IntArray
    match_arcsec: FloatArray
    matched_offset: IntArray
    reads: Reads
    plan: str


def _search_file(
    spec: CatalogSpec,
    path: str,
    search: Search,
    offsets: Offsets,
    radius_arcsec: float,
    columns: Sequence[str],
    joined_ids: pa.Array | None,
    most_rows: int | None,
) -> _FileMatches:
    with CatalogFile(path, spec.storage_options, spec.page_mb) as file:
        leaves = [file.leaf(name) for name in dict.fromkeys([spec.object_id, *columns])]
        key = file.key()
        reader = _reader(file, spec, key, leaves)
        places = Neighbourhoods.of(
            np.concatenate([search.ra_deg, offsets.ra_deg]),
            np.concatenate([search.dec_deg, offsets.dec_deg]),
            radius_arcsec,
            key.finest_order if key else FINEST_ORDER,
        )
        candidate, place, match_arcsec = places.match(*reader.candidates(places))
        at_target = place < len(search.target)
        matched_offset = place[~at_target] - len(search.target)
        candidate, target, match_arcsec = (
            candidate[at_target],
            place[at_target],
            match_arcsec[at_target],
        )
        if joined_ids is not None:
            joined = _joined(file, reader, leaves[0], candidate, joined_ids.take(pa.array(target)))
            candidate, target, match_arcsec = (
                candidate[joined],
                target[joined],
                match_arcsec[joined],
            )
        if most_rows is not None:
            _check_size(file, leaves, len(candidate), most_rows)
        matched, source = np.unique(candidate, return_inverse=True)
        sources = reader.payload(matched, leaves)
        _check_lengths(path, sources, leaves)
    reads = file.source.reads + Reads(rows=reader.rows)
    return _FileMatches(
        leaves, sources, source, target, match_arcsec, matched_offset, reads, reader.plan
    )


def _reader(
    file: CatalogFile,
    spec: CatalogSpec,
    key: Key | None,
    leaves: Sequence[Leaf],
) -> PageRangeReader | RowGroupReader:
    ra, dec = file.position_leaf(spec.ra), file.position_leaf(spec.dec)
    if has_page_index(file, limited_leaves(file, ra, dec, key), [ra, dec, *leaves]):
        return PageRangeReader(file, ra, dec, key, leaves)
    return RowGroupReader(file, ra, dec, key)


def _check_size(file: CatalogFile, leaves: Sequence[Leaf], n_pairs: int, most_rows: int) -> None:
    """Refuse to read more rows than there is memory for, by the mean length of the lists."""
    per_row = 1.0
    for leaf in leaves:
        if leaf.is_list and file.metadata.num_rows:
            groups = range(file.metadata.num_row_groups)
            values = sum(file.chunks(group, leaf)[0].num_values for group in groups)
            per_row = values / file.metadata.num_rows
            break
    expected = int(n_pairs * per_row)
    if expected > most_rows:
        raise TooLargeError(
            f"{file.path}: about {expected} rows expected of {n_pairs} matches, more than the"
            f" {most_rows} that the memory has room for at a time",
            n_pieces=-(-expected // most_rows),
        )


def _joined(
    file: CatalogFile,
    reader: PageRangeReader | RowGroupReader,
    object_id: Leaf,
    candidate: IntArray,
    wanted: pa.Array,
) -> npt.NDArray[np.bool_]:
    """Tell which candidates have the object id that is wanted of each."""
    if object_id.type != wanted.type:
        raise ArchiveSchemaError(
            f"{file.path}: column {object_id.name!r} has type {object_id.type}, expected "
            f"{wanted.type} as in the table of objects"
        )
    distinct, number = np.unique(candidate, return_inverse=True)
    ids = reader.payload(distinct, [object_id]).column(0).take(pa.array(number))
    return pc.fill_null(pc.equal(ids, wanted), False).to_numpy()


def _rows(pairs: pa.Table, sources: pa.Table, leaves: Sequence[Leaf]) -> pa.Table:
    """Return a row per pair or, with list columns, per element of the lists of its source."""
    lists = [leaf for leaf in leaves if leaf.is_list]
    taken = {leaf.name: sources[leaf.name].take(pairs["source"]) for leaf in leaves}
    columns = {"target": pairs["target"], "match_arcsec": pairs["match_arcsec"]}
    if lists:
        length = pc.fill_null(pc.list_value_length(taken[lists[0].name]), 0).to_numpy()
        pair = pa.array(np.repeat(np.arange(pairs.num_rows), length))
        columns = {name: column.take(pair) for name, column in columns.items()}
    for leaf in leaves:
        values = taken[leaf.name]
        if leaf.is_list:
            values = pc.list_flatten(values)
        elif lists:
            values = values.take(pair)
        columns[leaf.output_name] = values
    return pa.table(columns)


def check_names(columns: Sequence[str]) -> None:
    """Refuse columns that would have the same name in the result."""
    names = ["target", "match_arcsec", *(name.rpartition(".")[2] for name in columns)]
    repeated = sorted(name for name, count in Counter(names).items() if count > 1)
    if repeated:
        raise ValueError(f"columns {list(columns)} give {repeated} more than once in the result")


def _check_lengths(path: str, sources: pa.Table, leaves: Sequence[Leaf]) -> None:
    lengths = {
        leaf.name: pc.fill_null(pc.list_value_length(sources[leaf.name]), 0)
        for leaf in leaves
        if leaf.is_list
    }
    for name, length in lengths.items():
        expected_name, expected = next(iter(lengths.items()))
        differs = pc.index(pc.not_equal(length, expected), True).as_py()
        if differs >= 0:
            raise DamagedFileError(
                f"{path}: column {name!r} has a list of {length[differs]} elements where "
                f"{expected_name!r} has {expected[differs]}"
            )


def _types(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} {field.type}" for field in schema)
