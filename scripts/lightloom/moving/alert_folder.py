"""Alerts in files: partitioned Parquet, HATS, or a folder of Avro packets; local or remote."""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

import fastavro
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from fsspec.core import url_to_fs

from lightloom.errors import ArchiveSchemaError, DamagedFileError, TransientArchiveError
from lightloom.moving.alerts import FIELDS, alert_table
from lightloom.moving.windows import Window, date_of_mjd

_MJD_ZERO_JD = 2400000.5
#: Longest exposure: an alert may begin so long before the window in which its middle lies [d].
_LONGEST_D = 1.0 / 24.0
_BATCH_ROWS = 131_072
_DATE = re.compile(r"(?:^|[/=_])(\d{4})-?(\d{2})-?(\d{2})(?:/|$)")
_MONTH = re.compile(r"month=(\d{4}-\d{2})(?:/|$)")


class AlertFolder:
    """Reads the alerts of a window, in batches.

    Parameters
    ----------
    endpoint : str
        The folder, or a URL that fsspec opens.
    storage_options : mapping
        Options of the file system.
    columns : mapping
        Names of fields that differ from those of ZTF, by their role (`FIELDS`).
    exposure_s, time_point
        As `alert_table` takes them.
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
        self._names = dict(columns) or FIELDS
        self._exposure_s = exposure_s
        self._time_point = time_point
        try:
            self._file_system, root = url_to_fs(endpoint, **storage_options)
            if self._file_system.exists(f"{root}/dataset"):
                root = f"{root}/dataset"
            found = self._file_system.find(root, detail=True)
        except (OSError, ValueError, ImportError) as error:
            raise TransientArchiveError(f"{endpoint}: cannot be listed ({error})") from error
        self._files = {
            path: info
            for path, info in sorted(found.items())
            if path.endswith((".parquet", ".pq", ".avro"))
            and not path.rpartition("/")[2].startswith(("_", "."))
        }
        if not self._files:
            raise DamagedFileError(
                f"{endpoint}: found no alerts, expected Parquet files or Avro packets"
            )

    def version(self, window: Window) -> list[list[Any]]:
        """Return what identifies the content of the files that a window needs."""
        return [
            [path.rpartition("/")[2], info.get("size"), str(info.get("mtime") or info.get("ETag"))]
            for path, info in self._files.items()
            if path in set(self._of_window(window))
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
        for start in range(0, len(avro), 1000):
            yield self._within(self._packets(avro[start : start + 1000]), window)
        parquet = [path for path in paths if not path.endswith(".avro")]
        if parquet:
            yield from (self._within(table, window) for table in self._tables(parquet, window))

    def _of_window(self, window: Window) -> list[str]:
        """Return the files that may have alerts of the window, as far as their folders tell."""
        first = date_of_mjd(window.start_mjd - _LONGEST_D)
        last = date_of_mjd(window.stop_mjd)
        chosen = []
        for path in self._files:
            folder = path.rpartition("/")[0]
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
        rows: list[dict[str, Any]] = []
        for path in paths:
            try:
                with self._file_system.open(path, "rb") as file:
                    rows += [_flat(packet) for packet in fastavro.reader(file)]
            except (ValueError, EOFError, KeyError, IndexError) as error:
                raise DamagedFileError(f"{path}: not an Avro packet ({error})") from error
            except OSError as error:
                raise TransientArchiveError(f"{path}: cannot be read ({error})") from error
        columns = {
            role: [row.get(name) for row in rows]
            for role, name in self._names.items()
            if any(name in row for row in rows)
        }
        return alert_table(columns, self._exposure_s, self._time_point, self.endpoint)

    def _tables(self, paths: Sequence[str], window: Window) -> Iterator[pa.Table]:
        try:
            dataset = ds.dataset(list(paths), format="parquet", filesystem=self._file_system)
            fields = self._fields(dataset.schema)
            if "jd" not in fields:
                raise ArchiveSchemaError(
                    f"{self.endpoint}: found no field {self._names['jd']!r} for the time, but"
                    f" {', '.join(dataset.schema.names[:12])}"
                )
            low, high = (
                mjd + _MJD_ZERO_JD for mjd in (window.start_mjd - _LONGEST_D, window.stop_mjd)
            )
            is_list = (
                pa.types.is_list(dataset.schema.field(self._names["jd"]).type)
                if (self._names["jd"] in dataset.schema.names)
                else False
            )
            wanted = None if is_list else (fields["jd"] >= low) & (fields["jd"] <= high)
            batches = dataset.to_batches(
                columns=fields,
                filter=wanted,
                batch_size=_BATCH_ROWS,
                batch_readahead=2,
                fragment_readahead=1,
            )
            for batch in batches:
                columns = {name: batch.column(name) for name in batch.schema.names}
                if is_list:
                    columns = _exploded(columns)
                yield alert_table(columns, self._exposure_s, self._time_point, self.endpoint)
        except pa.ArrowInvalid as error:
            raise DamagedFileError(f"{self.endpoint}: not readable Parquet ({error})") from error
        except OSError as error:
            raise TransientArchiveError(f"{self.endpoint}: reading broke off ({error})") from error

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
