"""Alerts in files: partitioned Parquet, HATS, or a folder of Avro packets; local or remote."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from io import BytesIO
from typing import Any, TypeVar

import fastavro
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from fsspec.core import url_to_fs

from lightloom.catalogs.layouts import hats_root
from lightloom.catalogs.markers import COLLECTION_PROPERTIES, HATS_PROPERTIES
from lightloom.catalogs.storage import transported, version_in
from lightloom.catalogs.store_errors import archive_error
from lightloom.errors import ArchiveSchemaError, DamagedFileError
from lightloom.moving.alerts import FIELDS, alert_table
from lightloom.moving.windows import Window, date_of_mjd

_MJD_ZERO_JD = 2400000.5
#: Longest exposure: an alert may begin so long before the window in which its middle lies [d].
_LONGEST_D = 1.0 / 24.0
#: Within a window, and so near to its end that no day begins between [d].
_INSTANT_D = 1e-6
_BATCH_ROWS = 131_072
#: Packets read at the same time; with their images they have some 60 kB each.
_BATCH_PACKETS = 500
_DATE = re.compile(r"(?:^|[/=_])(\d{4})-?(\d{2})-?(\d{2})(?:/|$)")
_MONTH = re.compile(r"month=(\d{4}-\d{2})(?:/|$)")
#: The rows of a HATS catalogue; beside them are statistics and a sample of the rows.
_HATS_FILE = re.compile(r"/Norder=\d+/(?:Dir=\d+/)?Npix=\d+(?:\.parquet|/)")

T = TypeVar("T")


class AlertFolder:
    """Reads the alerts of a window, in batches.

    Parameters
    ----------
    endpoint : str
        The folder, a HATS catalogue or a collection of them, or a URL of one that fsspec opens.
    storage_options : mapping
        Options of the file system.
    columns : mapping
        Names of fields that differ from those of ZTF, by their role (`FIELDS`).
    exposure_s, time_point
        As `alert_table` takes them.

    Raises
    ------
    ArchiveError
        If the folder cannot be listed, or has no alerts.
    """

    def __init__(
        self,
        endpoint: str,
        storage_options: Mapping[str, Any],
        columns: Mapping[str, str],
        exposure_s: float,
        time_point: str,
    ) -> None:
        self.endpoint = endpoint
        self._storage_options = storage_options
        self._names = dict(columns) or FIELDS
        self._exposure_s = exposure_s
        self._time_point = time_point
        root = self._open(endpoint)
        found = self._listed(root)
        if f"{root}/{COLLECTION_PROPERTIES}" in found:
            root = self._open(hats_root(endpoint.rstrip("/"), storage_options)[0])
        is_hats = any(f"{root}/{name}" in found for name in HATS_PROPERTIES)
        self._files = {
            path: info
            for path, info in sorted(found.items())
            if path.endswith((".parquet", ".pq", ".avro"))
            and not path.rpartition("/")[2].startswith(("_", "."))
            and (not is_hats or _HATS_FILE.match(path.removeprefix(f"{root}/dataset")))
        }
        self._root = root
        if not self._files:
            raise DamagedFileError(
                f"{endpoint}: found no alerts, expected Parquet files or Avro packets"
            )

    def version(self, window: Window) -> list[list[Any]]:
        """Return what identifies the content of the files that a window needs."""
        return [
            [path.removeprefix(self._root), version_in(self._files[path])]
            for path in self._of_window(window)
        ]

    def batches(self, window: Window) -> Iterator[pa.Table]:
        """Yield the alerts (``ALERT``) whose exposure has its middle in the window.

        Raises
        ------
        ArchiveError
            If a file cannot be read, or lacks time or position.
        """
        paths = self._of_window(window)
        avro = [path for path in paths if path.endswith(".avro")]
        for start in range(0, len(avro), _BATCH_PACKETS):
            yield self._within(self._packets(avro[start : start + _BATCH_PACKETS]), window)
        parquet = [path for path in paths if not path.endswith(".avro")]
        if parquet:
            yield from (self._within(table, window) for table in self._tables(parquet, window))

    def _open(self, endpoint: str) -> str:
        """Open the file system of an address, and return the path in it."""

        def opened() -> Any:
            return url_to_fs(endpoint, **self._storage_options)

        self._file_system, path = self._transported(opened)
        return str(path).rstrip("/")

    def _listed(self, root: str) -> dict[str, dict[str, Any]]:
        def listed() -> dict[str, dict[str, Any]]:
            # What an earlier job of this process has seen may have changed.
            self._file_system.invalidate_cache()
            found: dict[str, dict[str, Any]] = self._file_system.find(root, detail=True)
            return found

        return self._transported(listed)

    def _transported(self, request: Callable[[], T]) -> T:
        return transported(self.endpoint, self._storage_options, request)

    def _of_window(self, window: Window) -> list[str]:
        """Return the files that may have alerts of the window, as far as their folders tell."""
        first = date_of_mjd(window.start_mjd - _LONGEST_D)
        # Folders of the day or month after the window have nothing of it, and may come later.
        last = date_of_mjd(window.stop_mjd - _INSTANT_D)
        chosen = []
        for path in self._files:
            folder = path.removeprefix(self._root).rpartition("/")[0]
            month, date = _MONTH.search(folder), _DATE.search(folder)
            if month and not f"{first:%Y-%m}" <= month[1] <= f"{last:%Y-%m}":
                continue
            # A night may be named by the date of its evening or of its morning.
            early, late = first - timedelta(days=1), last + timedelta(days=1)
            if (
                not month
                and date
                and not (f"{early:%Y%m%d}" <= "".join(date.groups()) <= f"{late:%Y%m%d}")
            ):
                continue
            chosen.append(path)
        return chosen

    def _within(self, alerts: pa.Table, window: Window) -> pa.Table:
        time = alerts["time_mjd"].to_numpy()
        return alerts.filter(pa.array((time >= window.start_mjd) & (time < window.stop_mjd)))

    def _packets(self, paths: Sequence[str]) -> pa.Table:
        def read() -> list[bytes]:
            # All at the same time, if the file system can.
            sizes = [self._files[path]["size"] for path in paths]
            found = self._file_system.cat_ranges(list(paths), [0] * len(paths), sizes)
            for one in found:
                if isinstance(one, BaseException):
                    raise one
            return list(found)

        rows: list[dict[str, Any]] = []
        for path, content in zip(paths, self._transported(read), strict=True):
            try:
                rows += [_flat(packet) for packet in fastavro.reader(BytesIO(content))]
            except (ValueError, EOFError, KeyError, IndexError) as error:
                raise DamagedFileError(f"{path}: not an Avro packet ({error})") from error
        columns = {
            role: [row.get(name) for row in rows]
            for role, name in self._names.items()
            if any(name in row for row in rows)
        }
        return alert_table(columns, self._exposure_s, self._time_point, self.endpoint)

    def _tables(self, paths: Sequence[str], window: Window) -> Iterator[pa.Table]:
        with self._reading():
            dataset = ds.dataset(list(paths), format="parquet", filesystem=self._file_system)
        fields = self._fields(dataset.schema)
        if "jd" not in fields:
            raise ArchiveSchemaError(
                f"{self.endpoint}: found no field {self._names['jd']!r} for the time, but"
                f" {', '.join(dataset.schema.names[:12])}"
            )
        low, high = (mjd + _MJD_ZERO_JD for mjd in (window.start_mjd - _LONGEST_D, window.stop_mjd))
        is_list = self._names["jd"] in dataset.schema.names and pa.types.is_list(
            dataset.schema.field(self._names["jd"]).type
        )
        batches = dataset.to_batches(
            columns=fields,
            filter=None if is_list else (fields["jd"] >= low) & (fields["jd"] <= high),
            batch_size=_BATCH_ROWS,
            batch_readahead=2,
            fragment_readahead=1,
        )
        while True:
            with self._reading():
                batch = next(batches, None)
            if batch is None:
                return
            columns = {name: batch.column(name) for name in batch.schema.names}
            if is_list:
                columns = _exploded(columns)
            yield alert_table(columns, self._exposure_s, self._time_point, self.endpoint)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except pa.ArrowInvalid as error:
            raise DamagedFileError(f"{self.endpoint}: not readable Parquet ({error})") from error
        # Every transport library has exceptions of its own, without a common class.
        except Exception as error:
            raise archive_error(self.endpoint, self._storage_options, error) from error

    def _fields(self, schema: pa.Schema) -> dict[str, pc.Expression]:
        """Return the fields by their role; those of a packet's candidate may be nested."""
        nested = (
            {field.name for field in schema.field("candidate").type}
            if "candidate" in schema.names
            else set()
        )
        return {
            role: pc.field(name) if name in schema.names else pc.field("candidate", name)
            for role, name in self._names.items()
            if name in schema.names or name in nested
        }


def _flat(packet: Any) -> dict[str, Any]:
    return {
        **packet.get("candidate", {}),
        "candid": packet.get("candid"),
        "objectId": packet.get("objectId"),
    }


def _exploded(columns: Mapping[str, pa.Array]) -> dict[str, pa.Array]:
    """Return lists of alerts per object as one row per alert."""
    parents = pc.list_parent_indices(
        next(one for one in columns.values() if pa.types.is_list(one.type))
    )
    return {
        name: pc.list_flatten(values) if pa.types.is_list(values.type) else values.take(parents)
        for name, values in columns.items()
    }
