"""Find the rows of any targets in the merged light curves, without reading the others.

The ledger has the number of rows of each target and archive, and the merged rows of a shard lie in
the same order: their places follow, to the row, from a running sum.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lightloom.errors import ResultError
from lightloom.read.lightcurves import LightCurves
from lightloom.record import read_views
from lightloom.schema import LIGHTCURVE
from lightloom.suggest import did_you_mean
from lightloom.views import columns_of, view_expression

#: More ids than this are not searched for a suggestion.
_MAX_SUGGESTED_FROM = 100_000


@dataclass(frozen=True)
class Selection:
    """Which rows to read.

    Attributes
    ----------
    objectids, archives, bands : tuple of str or None
        Only these; None means all.
    view : str
        Name of a view: ``clean``, ``all``, ``events``, ``detections``, or another that the entries
        of the archives define.
    columns : tuple of str or None
        Columns of ``LIGHTCURVE`` to read, in their order; None means all.
    """

    objectids: tuple[str, ...] | None = None
    archives: tuple[str, ...] | None = None
    bands: tuple[str, ...] | None = None
    view: str = "clean"
    columns: tuple[str, ...] | None = None


class Dataset:
    """The light curves of a finished run.

    Parameters
    ----------
    results : pathlib.Path
        The folder of the results.

    Raises
    ------
    ResultError
        If a run did not end there.
    """

    def __init__(self, results: Path) -> None:
        self.results = results
        self._views = read_views(results)
        for path in (self._sample_path, self._ledger_path):
            if not path.exists():
                raise ResultError(
                    f"{path}: not found; run `snakemake --cores all` to finish this run"
                )

    @property
    def _sample_path(self) -> Path:
        return self.results / "sample" / "sample.parquet"

    @property
    def _ledger_path(self) -> Path:
        return self.results / "ledger.parquet"

    @cached_property
    def _targets(self) -> pa.Table:
        return pq.read_table(self._sample_path, columns=["objectid", "shard"])

    def read(self, selection: Selection) -> LightCurves:
        """Read the rows of a selection into memory.

        Raises
        ------
        ResultError
            If a target, archive, band or view is unknown, or if the tables do not belong together.
        """
        blocks = list(self.blocks(selection))
        schema = pa.schema([LIGHTCURVE.field(name) for name in self.columns(selection)])
        return LightCurves(
            pa.concat_tables([schema.empty_table(), *blocks]), self.targets(selection)
        )

    def targets(self, selection: Selection) -> pa.Table:
        """Read the targets of a selection, also those without rows.

        Returns
        -------
        pyarrow.Table
            ``objectid``, ``ra_deg``, ``dec_deg``, ``labels`` and ``number``, the target's place in
            the sample from 1.
        """
        sample = pq.read_table(
            self._sample_path, columns=["objectid", "ra_deg", "dec_deg", "labels"]
        )
        numbered = sample.append_column("number", pa.array(np.arange(1, sample.num_rows + 1)))
        return numbered.take(self._numbers(selection.objectids))

    def columns(self, selection: Selection) -> list[str]:
        """Return the columns that a selection has, in the order of ``LIGHTCURVE``.

        Raises
        ------
        ResultError
            If a column is unknown.
        """
        if selection.columns is None:
            return list(LIGHTCURVE.names)
        for name in selection.columns:
            _check_known("columns", name, LIGHTCURVE.names)
        return [name for name in LIGHTCURVE.names if name in selection.columns]

    def blocks(self, selection: Selection) -> Iterator[pa.Table]:
        """Read the rows of a selection piece by piece, in bounded memory.

        Yields
        ------
        pyarrow.Table
            Some rows, at most those of a row group (131 072), in the order of the data set: by the
            target's place on the sky, archive, band, survey object and time.

        Raises
        ------
        ResultError
            As `read`.
        """
        for shard, objectids in self.shards(selection):
            yield from self.shard_blocks(selection, shard, objectids)

    def shards(self, selection: Selection) -> Iterator[tuple[str, pa.Array]]:
        """Give the shards in which a selection has targets, with their ids, in sky order."""
        chosen = self._targets.take(self._numbers(selection.objectids))
        codes = pc.dictionary_encode(chosen["shard"].combine_chunks()).indices.to_numpy()
        borders = [0, *(np.flatnonzero(np.diff(codes)) + 1).tolist(), len(codes)]
        for start, stop in itertools.pairwise(borders):
            targets = chosen.slice(start, stop - start)
            if stop > start:
                yield targets["shard"][0].as_py(), targets["objectid"].combine_chunks()

    def shard_blocks(
        self, selection: Selection, shard: str, objectids: pa.Array
    ) -> Iterator[pa.Table]:
        """Read the rows of some targets of a shard; otherwise as `blocks`."""
        archives = self._archives(selection.archives)
        columns = self.columns(selection)
        views = {name: self._views[name] for name in archives}
        condition = view_expression(selection.view, views)
        needed = {*columns, *columns_of(selection.view, views.values()), "archive"}
        if selection.bands is not None:
            in_bands = pc.field("band").isin(list(selection.bands))
            condition = in_bands if condition is None else condition & in_bands
            needed.add("band")
        for block in self._rows(shard, objectids, archives, sorted(needed)):
            rows = block if condition is None else block.filter(condition)
            if rows.num_rows:
                yield rows.select(columns)

    def _numbers(self, objectids: Sequence[str] | None) -> pa.Array:
        """Return the rows in the sample of the targets, in the order of the sample."""
        if objectids is None:
            return pa.array(np.arange(self._targets.num_rows))
        asked = pa.array(list(dict.fromkeys(objectids)), pa.string())
        found = pc.indices_nonzero(pc.is_in(self._targets["objectid"], value_set=asked))
        if len(found) != len(asked):
            is_known = pc.is_in(asked, value_set=self._targets["objectid"])
            unknown = asked.filter(pc.invert(is_known))
            known = self._targets["objectid"].slice(0, _MAX_SUGGESTED_FROM).to_pylist()
            raise ResultError(
                f"{len(unknown)} objectids are not in {self._sample_path}, the first is"
                f" {unknown[0].as_py()!r}{did_you_mean(unknown[0].as_py(), known)}; its column"
                " objectid lists the targets of the run"
            )
        return found.cast(pa.int64())

    def _archives(self, names: Sequence[str] | None) -> list[str]:
        for name in names or ():
            _check_known("archives", name, self._views)
        return [name for name in sorted(self._views) if names is None or name in names]

    def _rows(
        self, shard: str, objectids: pa.Array, archives: Iterable[str], columns: list[str]
    ) -> Iterator[pa.Table]:
        """Read the rows of some targets of a shard, from the row groups that have any."""
        counts = pq.read_table(
            self._ledger_path,
            columns=["objectid", "archive", "n_rows"],
            filters=pc.field("shard") == shard,
        )
        path = self.results / "lightcurves" / f"{shard}.parquet"
        if not path.exists():
            raise ResultError(
                f"{path}: not found, though {self._ledger_path} tells of it; run"
                " `snakemake --cores all` to make it again"
            )
        stops = np.cumsum(counts["n_rows"].to_numpy())
        starts = stops - counts["n_rows"].to_numpy()
        is_chosen = pc.and_(
            pc.is_in(counts["objectid"], value_set=objectids),
            pc.is_in(counts["archive"], value_set=pa.array(archives, pa.string())),
        ).to_numpy()
        ranges = _join_ranges(starts[is_chosen], stops[is_chosen])
        with pq.ParquetFile(path, memory_map=True) as file:
            if file.metadata.num_rows != stops[-1]:
                raise ResultError(
                    f"{path}: {file.metadata.num_rows} rows, but {self._ledger_path} tells of"
                    f" {stops[-1]}; run `snakemake --cores all` to bring them together"
                )
            borders = np.cumsum(
                [0, *(file.metadata.row_group(i).num_rows for i in range(file.num_row_groups))]
            )
            for group in _touched(borders, ranges):
                inside = np.clip(ranges, borders[group], borders[group + 1]) - borders[group]
                inside = inside[inside[:, 0] < inside[:, 1]]
                yield _take_ranges(file.read_row_group(group, columns), inside)


def _join_ranges(starts: NDArray[np.int64], stops: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the ranges that are not empty, shape (n, 2), those that touch made one."""
    is_filled = starts < stops
    starts, stops = starts[is_filled], stops[is_filled]
    is_first = np.append(True, starts[1:] != stops[:-1])[: len(starts)]
    is_last = np.append(is_first[1:], True)[: len(starts)]
    return np.column_stack([starts[is_first], stops[is_last]])


def _touched(borders: NDArray[np.int64], ranges: NDArray[np.int64]) -> Iterator[int]:
    """Give the numbers of the row groups in which at least one range has rows."""
    first = np.searchsorted(borders, ranges[:, 0], side="right") - 1
    last = np.searchsorted(borders, ranges[:, 1], side="left") - 1
    done = -1
    for low, high in zip(first.tolist(), last.tolist(), strict=True):
        yield from range(max(low, done + 1), high + 1)
        done = high


def _take_ranges(table: pa.Table, ranges: NDArray[np.int64]) -> pa.Table:
    if len(ranges) == 1:
        start, stop = ranges[0].tolist()
        return table.slice(start, stop - start)
    change = np.zeros(table.num_rows + 1, np.int8)
    np.add.at(change, ranges[:, 0], 1)
    np.add.at(change, ranges[:, 1], -1)
    return table.filter(pa.array(np.cumsum(change[:-1]) > 0))


def _check_known(what: str, name: str, known: Iterable[str]) -> None:
    known = list(known)
    if name not in known:
        raise ResultError(
            f"{what}: {name!r} is unknown, expected some of {', '.join(known)}"
            f"{did_you_mean(name, known)}"
        )


def read_lightcurves(
    results: Path | str = "results",
    *,
    objectids: Iterable[str] | str | None = None,
    archives: Iterable[str] | str | None = None,
    bands: Iterable[str] | str | None = None,
    view: str = "clean",
    clean: bool | None = None,
    columns: Iterable[str] | None = None,
) -> LightCurves:
    """Read light curves of a run.

    Only the row groups with rows of the targets are read. To read often, keep a `Dataset`; to read
    more than fits into memory, use its `Dataset.blocks`.

    Parameters
    ----------
    results : pathlib.Path or str, optional
        The folder of the results.
    objectids, archives, bands : str or iterable of str, optional
        Only these.
    view : str, optional
        Which rows: ``clean`` (good measurements, as each archive recommends), ``all``,
        ``detections``, ``events``, or a view of the archives' entries.
    clean : bool, optional
        Short for ``view="clean"`` (true) or ``view="all"`` (false).
    columns : iterable of str, optional
        Only these columns of ``LIGHTCURVE``.

    Returns
    -------
    LightCurves
        With ``to_pandas``, ``to_nested``, ``to_timeseries``, ``to_lightkurve``, ``to_fornax``.

    Raises
    ------
    ResultError
        If there is no finished run, or if a target, archive, column or view is unknown.
    """
    if clean is not None:
        view = "clean" if clean else "all"
    selection = Selection(_names(objectids), _names(archives), _names(bands), view, _names(columns))
    return Dataset(Path(results)).read(selection)


def _names(names: Iterable[str] | str | None) -> tuple[str, ...] | None:
    if names is None:
        return None
    return (names,) if isinstance(names, str) else tuple(names)
