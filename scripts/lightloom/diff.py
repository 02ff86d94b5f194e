"""Differences between two runs, or two releases: points that are new, changed or withdrawn.

A point is identified by target, archive, band, survey object, field and exposure; where an archive
names no exposure, the published time takes its place. Points that agree in all of it (a padded
cadence has no time, and a catalogue may list a measurement twice) are told apart by the rest of
their columns: those that are equal in both runs go first, what remains is paired in order, and
only what is left over on one side is new or withdrawn.

Targets are compared some at a time, so that memory does not grow with the runs.
"""

import filecmp
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from heapq import nlargest
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lightloom.errors import ResultError
from lightloom.read import Dataset, Selection
from lightloom.schema import LIGHTCURVE, column
from lightloom.suggest import did_you_mean

#: Kinds of differences: of points, and of the state in which a search ended.
CHANGES = ("new", "changed", "withdrawn", "state")

#: What a point is known by, besides its time.
_IDENTITY = (
    "objectid",
    "archive",
    "band",
    "survey_object_id",
    "survey_field",
    "exposure_id",
)

#: The time, as far as a point is known by it.
_IDENTITY_TIME = "CASE WHEN exposure_id IS NULL THEN time_mjd END"

#: Columns that are given as they were and as they are.
_COMPARED = (
    "native_value",
    "native_err",
    "flux_mjy",
    "flux_err_mjy",
    "flags_native",
    "quality",
)

#: Rows of both runs that are compared at a time, unless more of them are known by the same.
_CHUNK_ROWS = 200_000

_MEMORY = "1GB"


def _pair(name: str) -> list[pa.Field]:
    """Return two columns for the values of one in the old and in the new run."""
    one = LIGHTCURVE.field(name)
    about = {key.decode(): value.decode() for key, value in one.metadata.items()}
    return [
        column(
            f"{name}_{when}",
            one.type,
            f"{about['description']}, in the {when} run",
            unit=about.get("unit", ""),
            ucd=about.get("ucd", ""),
        )
        for when in ("old", "new")
    ]


DIFFERENCES = pa.schema(
    [
        column("change", pa.string(), "new, changed, withdrawn or state", nullable=False),
        *(LIGHTCURVE.field(name).with_nullable(True) for name in _IDENTITY),
        LIGHTCURVE.field("time_mjd"),
        LIGHTCURVE.field("time_mjd_tdb"),
        column("columns", pa.string(), "columns that differ, with commas"),
        *(one for name in _COMPARED for one in _pair(name)),
        column("state_old", pa.string(), "state in the old run", ucd="meta.code.status"),
        column("state_new", pa.string(), "state in the new run", ucd="meta.code.status"),
    ]
)


@dataclass
class Summary:
    """How many differences there are.

    Attributes
    ----------
    by_archive : dict of str to Counter
        Number of differences of each kind.
    most : list of (str, str, Counter)
        Target, archive and numbers of those with most differences, the most first.
    n_listed : int
        Length of that list at most.
    """

    n_listed: int = 20
    by_archive: dict[str, Counter[str]] = field(default_factory=dict)
    most: list[tuple[str, str, Counter[str]]] = field(default_factory=list)

    @property
    def total(self) -> Counter[str]:
        """Number of differences of each kind."""
        return sum(self.by_archive.values(), Counter())

    def counted(self, blocks: Iterable[pa.Table]) -> Iterator[pa.Table]:
        """Count differences on their way; those of a target in an archive stand in one table."""
        for block in blocks:
            self._add(block)
            yield block

    def _add(self, differences: pa.Table) -> None:
        groups = differences.group_by(["objectid", "archive", "change"]).aggregate(
            [([], "count_all")]
        )
        of_target: dict[tuple[str, str], Counter[str]] = {}
        for group in groups.to_pylist():
            counts = of_target.setdefault((group["objectid"], group["archive"]), Counter())
            counts[group["change"]] += group["count_all"]
            total = self.by_archive.setdefault(group["archive"], Counter())
            total[group["change"]] += group["count_all"]
        found = [(*key, counts) for key, counts in sorted(of_target.items())]
        self.most = nlargest(self.n_listed, [*self.most, *found], key=lambda one: one[2].total())


class Comparison:
    """Two results folders.

    Parameters
    ----------
    old, new : pathlib.Path
        Results folders of finished runs.
    ignored : sequence of str, optional
        Columns of the light curves whose changes do not count.

    Raises
    ------
    ResultError
        If a run did not end there, or a column is unknown or identifies points.
    """

    def __init__(self, old: Path, new: Path, ignored: Sequence[str] = ()) -> None:
        for name in ignored:
            known = [one for one in LIGHTCURVE.names if one not in (*_IDENTITY, "time_mjd")]
            if name not in known:
                raise ResultError(
                    f"column {name!r} cannot be ignored{did_you_mean(name, known)}; expected one"
                    f" of {', '.join(known)}"
                )
        self._old, self._new = Dataset(old), Dataset(new)
        self._columns = tuple(name for name in LIGHTCURVE.names if name not in ignored)
        # Of one shard of a run the targets may lie in several of the other.
        self._ledger = lru_cache(maxsize=4)(_read_ledger)

    def differences(self) -> Iterator[pa.Table]:
        """Yield the differences of some targets at a time (``DIFFERENCES``), in order of shards.

        Raises
        ------
        ResultError
            If files of a run are missing, or do not belong together.
        """
        with _database() as database:
            for shards, objectids in self._targets(database):
                yield from self._of_shards(database, shards, objectids)

    def _targets(
        self, database: duckdb.DuckDBPyConnection
    ) -> Iterator[tuple[tuple[str | None, str | None], pa.Array]]:
        """Yield the targets that lie in one shard of the old and in one of the new run."""
        paths = [str(run.results / "sample" / "sample.parquet") for run in (self._old, self._new)]
        # Of a connection of its own, as it is read while others are asked.
        found = database.cursor().sql(
            "SELECT o.shard AS old, n.shard AS new, objectid"
            " FROM read_parquet(?) o FULL JOIN read_parquet(?) n USING (objectid)"
            " ORDER BY coalesce(n.shard, o.shard), o.shard, n.shard, objectid",
            params=paths,
        )
        batches = found.to_arrow_reader(_CHUNK_ROWS)
        rows = (row for batch in batches for row in zip(*batch.to_pydict().values(), strict=True))
        for shards, group in itertools.groupby(rows, key=lambda row: (row[0], row[1])):
            yield shards, pa.array([objectid for _, _, objectid in group], pa.string())

    def _of_shards(
        self,
        database: duckdb.DuckDBPyConnection,
        shards: tuple[str | None, str | None],
        objectids: pa.Array,
    ) -> Iterator[pa.Table]:
        old, new = (
            self._states_of(run, shard, objectids)
            for run, shard in zip((self._old, self._new), shards, strict=True)
        )
        same_rows = self._are_same(shards)
        for chosen, archives, n_pieces in _chunks(database, old, new):
            states = _states(database, *(_chosen(one, chosen, archives) for one in (old, new)))
            pieces = []
            for number in range(0 if same_rows else n_pieces):
                old_rows, new_rows = (
                    _piece(database, self._rows(*side, chosen, archives), number, n_pieces)
                    for side in ((self._old, shards[0], old), (self._new, shards[1], new))
                )
                pieces.append(_points(database, old_rows, new_rows, self._columns))
            if len(pieces) > 1:
                pieces = [_in_order(pa.concat_tables(pieces))]
            found = pa.concat_tables([*pieces, states])
            if found.num_rows:
                yield found

    def _states_of(self, run: Dataset, shard: str | None, objectids: pa.Array) -> pa.Table:
        """Return how the searches for some targets of a shard ended; none if there is no shard."""
        ledger = self._ledger(run.results, shard or "")
        asked = pc.not_equal(ledger["state"], "not_requested")
        return ledger.filter(pc.and_(asked, pc.is_in(ledger["objectid"], objectids)))

    def _are_same(self, shards: tuple[str | None, str | None]) -> bool:
        """Tell whether the rows of a shard are the same in both runs, by the bytes of its files."""
        if shards[0] is None or shards[0] != shards[1]:
            return False
        first, second = (
            run.results / "lightcurves" / f"{shards[0]}.parquet" for run in (self._old, self._new)
        )
        return first.exists() and second.exists() and filecmp.cmp(first, second, shallow=False)

    def _rows(
        self,
        run: Dataset,
        shard: str | None,
        ledger: pa.Table,
        objectids: pa.Array,
        archives: tuple[str, ...] | None,
    ) -> Iterator[pa.Table]:
        """Read the rows of some targets in some archives, or in all that were asked, in blocks."""
        yield pa.schema([LIGHTCURVE.field(name) for name in self._columns]).empty_table()
        if archives is not None:
            asked = set(ledger["archive"].to_pylist())
            archives = tuple(name for name in archives if name in asked)
        if shard is not None and archives != ():
            selection = Selection(archives=archives, view="all", columns=self._columns)
            yield from run.shard_blocks(selection, shard, objectids)


@contextmanager
def _database() -> Iterator[duckdb.DuckDBPyConnection]:
    with (
        TemporaryDirectory(prefix="lightloom-diff-") as folder,
        duckdb.connect(config={"memory_limit": _MEMORY, "temp_directory": folder}) as database,
    ):
        yield database


def _read_ledger(results: Path, shard: str) -> pa.Table:
    return pq.read_table(
        results / "ledger.parquet",
        columns=["objectid", "archive", "state", "n_rows"],
        filters=pc.field("shard") == shard,
    )


def _chosen(ledger: pa.Table, objectids: pa.Array, archives: tuple[str, ...] | None) -> pa.Table:
    chosen = pc.is_in(ledger["objectid"], objectids)
    if archives is not None:
        chosen = pc.and_(chosen, pc.is_in(ledger["archive"], pa.array(archives)))
    return ledger.filter(chosen)


def _chunks(
    database: duckdb.DuckDBPyConnection, old: pa.Table, new: pa.Table
) -> Iterator[tuple[pa.Array, tuple[str, ...] | None, int]]:
    """Divide targets into some whose rows fit into memory; a large one by its archives.

    The number tells into how many pieces the rows have to be divided in any case.
    """
    database.register("ledgers", pa.concat_tables([old, new]))
    counts = database.execute(
        "SELECT objectid, archive, sum(n_rows)::BIGINT FROM ledgers GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    together: list[str] = []
    n_together = 0
    for objectid, group in itertools.groupby(counts, key=lambda row: row[0]):
        of_archives = [(archive, n_rows) for _, archive, n_rows in group]
        n_rows = sum(n for _, n in of_archives)
        if together and n_together + n_rows > _CHUNK_ROWS:
            yield pa.array(together, pa.string()), None, 1
            together, n_together = [], 0
        if n_rows > _CHUNK_ROWS:
            for archive, n in of_archives:
                pieces = max(1, -(-n // _CHUNK_ROWS))
                yield pa.array([objectid], pa.string()), (archive,), pieces
        else:
            together.append(objectid)
            n_together += n_rows
    if together:
        yield pa.array(together, pa.string()), None, 1


def _piece(
    database: duckdb.DuckDBPyConnection, blocks: Iterator[pa.Table], number: int, n_pieces: int
) -> pa.Table:
    """Return one of the pieces of some rows; what a point is known by decides on its piece."""
    if n_pieces == 1:
        return pa.concat_tables(blocks)
    chosen = []
    for block in blocks:
        database.register("block", block)
        found = database.sql(
            f"SELECT * FROM block WHERE hash({', '.join(_IDENTITY)}, {_IDENTITY_TIME})"
            f" % {n_pieces} = {number}"
        )
        chosen.append(found.to_arrow_table().cast(block.schema))
    database.unregister("block")
    return pa.concat_tables(chosen)


def _points(
    database: duckdb.DuckDBPyConnection, old: pa.Table, new: pa.Table, columns: Sequence[str]
) -> pa.Table:
    """Return the points that differ (``DIFFERENCES``)."""
    database.register("old_rows", old)
    database.register("new_rows", new)
    names = ", ".join(columns)
    identity = ", ".join([*_IDENTITY, "identity_time"])
    others = [name for name in columns if name not in _IDENTITY]
    numbered = (
        "SELECT *, row_number() OVER (PARTITION BY {identity} ORDER BY {others}) AS number FROM ("
        f"SELECT *, {_IDENTITY_TIME} AS identity_time FROM ("
        "SELECT {names} FROM {these} EXCEPT ALL SELECT {names} FROM {those}))"
    )
    sides = {
        side: numbered.format(
            identity=identity, others=", ".join(others), names=names, these=these, those=those
        )
        for side, these, those in (
            ("o", "old_rows", "new_rows"),
            ("n", "new_rows", "old_rows"),
        )
    }
    same_point = " AND ".join(
        f"o.{name} IS NOT DISTINCT FROM n.{name}"
        for name in (*_IDENTITY, "identity_time", "number")
    )
    differing = ", ".join(
        f"CASE WHEN o.{name} IS DISTINCT FROM n.{name} THEN '{name}' END" for name in others
    )
    given = {
        "change": "CASE WHEN o.number IS NULL THEN 'new' WHEN n.number IS NULL THEN 'withdrawn'"
        " ELSE 'changed' END",
        "columns": f"CASE WHEN o.number = n.number THEN concat_ws(',', {differing}) END",
        **{name: f"coalesce(n.{name}, o.{name})" for name in (*_IDENTITY, "time_mjd")},
        "time_mjd_tdb": "coalesce(n.time_mjd_tdb, o.time_mjd_tdb)",
        **{f"{name}_old": f"o.{name}" for name in _COMPARED},
        **{f"{name}_new": f"n.{name}" for name in _COMPARED},
    }
    ignored = set(LIGHTCURVE.names) - set(columns)
    selected = ", ".join(
        f"{'NULL' if _without_side(name) in ignored else given.get(name, 'NULL')} AS {name}"
        for name in DIFFERENCES.names
    )
    result = database.sql(
        f"SELECT {selected} FROM ({sides['o']}) o FULL OUTER JOIN ({sides['n']}) n"
        f" ON {same_point} ORDER BY ALL"
    )
    return _in_order(result.to_arrow_table())


def _without_side(name: str) -> str:
    return name.removesuffix("_old").removesuffix("_new")


def _states(database: duckdb.DuckDBPyConnection, old: pa.Table, new: pa.Table) -> pa.Table:
    """Return the searches that ended in another state (``DIFFERENCES``)."""
    database.register("old_states", old)
    database.register("new_states", new)
    result = database.sql(
        "SELECT 'state' AS change, objectid, archive, o.state AS state_old, n.state AS state_new"
        " FROM old_states o FULL JOIN new_states n USING (objectid, archive)"
        " WHERE o.state IS DISTINCT FROM n.state ORDER BY objectid, archive"
    )
    found = result.to_arrow_table()
    columns = {
        one.name: found[one.name]
        if one.name in found.column_names
        else pa.nulls(found.num_rows, one.type)
        for one in DIFFERENCES
    }
    return _in_order(pa.table(columns))


def _in_order(found: pa.Table) -> pa.Table:
    order = pc.sort_indices(
        found,
        [
            (name, "ascending")
            for name in (
                "objectid",
                "archive",
                "band",
                "survey_object_id",
                "time_mjd",
                "exposure_id",
            )
        ],
    )
    return found.take(order).cast(DIFFERENCES)
