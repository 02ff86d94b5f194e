"""A second release of the embedded sky: the first one, and a known number of changed points.

Archives revise what they have published. Here points of targets of the sample are measured anew,
added and taken back, each once, so that a comparison of a run on either release must find exactly
these.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from lightloom.errors import SampleError
from lightloom.sky.fields import described_field
from lightloom.sky.geometry import coordinates
from lightloom.sky.places import RADIUS_ARCSEC, SERVICE_RADIUS_ARCSEC
from lightloom.sky.services.nsc import MISSING_MAG
from lightloom.sky.streams import random_stream
from lightloom.sky.targets import Target
from lightloom.sky.truth.matching import match
from lightloom.sky.unwise import BANDS
from lightloom.sky.ztf import FILTER_BANDS

#: Number of points that are changed, new and withdrawn, by archive.
PLANTED = {
    "nsc": (4, 3, 3),
    "unwise": (3, 3, 2),
    "xmm": (3, 3, 2),
    "ztf": (5, 3, 3),
}
_KINDS = ("changed", "new", "withdrawn")

CHANGES = pa.schema(
    [
        described_field("change", pa.string(), "changed, new or withdrawn"),
        described_field("objectid", pa.string(), "target"),
        described_field("archive", pa.string(), "name of the archive"),
        described_field("band", pa.string(), "such as g or W1"),
        described_field("survey_object_id", pa.string(), "identifier in the archive"),
        described_field("exposure_id", pa.string(), "exposure in the archive"),
        described_field("time_mjd", pa.float64(), "time as catalogued, as MJD", "d"),
    ]
)

#: Number in the name of a visit that the first release does not have.
_NEW_EPOCH = 900

#: Time between a point and the new one that is made of it [d].
_LATER_D = 3.0

_DAY_S = 86_400.0

Tables = tuple[pa.Table, ...]
Row = dict[str, Any]


@dataclass
class _Edit:
    """Rows of a table that are replaced, and rows that come after others."""

    replaced: dict[int, Row | None] = field(default_factory=dict)
    inserted: dict[int, Row] = field(default_factory=dict)

    def applied(self, table: pa.Table) -> pa.Table:
        """Return the table with the changes, all other rows in their order."""
        rows = [row for row in self.replaced.values() if row is not None]
        rows += self.inserted.values()
        if not (rows or self.replaced):
            return table
        whole = pa.concat_tables([table, pa.Table.from_pylist(rows, table.schema)])
        added = iter(range(table.num_rows, whole.num_rows))
        places: list[int | None] = list(range(table.num_rows))
        for number, row in self.replaced.items():
            places[number] = None if row is None else next(added)
        after = {number: next(added) for number in self.inserted}
        order = [
            place
            for number, replacement in enumerate(places)
            for place in (replacement, after.get(number))
            if place is not None
        ]
        return whole.take(pa.array(order, pa.int64()))


class SecondRelease:
    """Changes of the catalogues of a sky.

    Parameters
    ----------
    sample : sequence of Target
        Targets whose points are changed, at most one in an archive for each.
    others : sequence of Target
        Targets of whose points none is changed.
    seed : int
        Seed of the sky.
    """

    def __init__(self, sample: Sequence[Target], others: Sequence[Target], seed: int) -> None:
        self._targets = [*sample, *others]
        self._n_sample = len(sample)
        self._seed = seed
        self._changes: list[Row] = []

    def edit(self, archive: str, tables: Tables) -> Tables:
        """Return the tables of an archive as the second release has them.

        Parameters
        ----------
        archive : str
        tables : tuple of pyarrow.Table
            As they are in the first release.

        Returns
        -------
        tuple of pyarrow.Table

        Raises
        ------
        SampleError
            If too few targets of the sample have points in the archive.
        """
        return _EDITORS[archive](self, tables) if archive in PLANTED else tables

    @property
    def changes(self) -> pa.Table:
        """The changes made so far, in the schema ``CHANGES``."""
        keys = [(name, "ascending") for name in ("archive", "change", "objectid")]
        return pa.Table.from_pylist(self._changes, CHANGES).sort_by(keys)

    def _sources(
        self, archive: str, table: pa.Table, ra: str, dec: str
    ) -> list[tuple[str, list[int]]]:
        """Return targets of the sample with the rows that no other target has as well."""
        position = coordinates(
            [target.ra_deg for target in self._targets],
            [target.dec_deg for target in self._targets],
        )
        radius_arcsec = (RADIUS_ARCSEC | SERVICE_RADIUS_ARCSEC)[archive]
        pairs = match(position, table[ra].to_numpy(), table[dec].to_numpy(), radius_arcsec)
        pairs = pairs[~pairs["row"].duplicated(keep=False)]
        pairs = pairs[pairs["target"] < self._n_sample].sort_values(["target", "row"])
        rows: dict[str, list[int]] = {}
        for target, row in pairs[["target", "row"]].to_numpy().tolist():
            rows.setdefault(self._targets[target].objectid, []).append(row)
        return list(rows.items())

    def _chosen(
        self, archive: str, points: Mapping[str, Sequence[Any]]
    ) -> list[tuple[str, str, Any]]:
        """Choose a point for each change: kind, target and point, no target twice.

        A target with a single point is left out: without it, its search would end otherwise.
        """
        rng = random_stream(self._seed, "second release", archive)
        names = sorted(name for name, found in points.items() if len(found) > 1)
        kinds = np.repeat(_KINDS, PLANTED[archive]).tolist()
        if len(names) < len(kinds):
            raise SampleError(
                f"the sample has {len(names)} targets with several points in {archive}, expected"
                f" at least {len(kinds)} for a second release"
            )
        chosen = rng.choice(len(names), len(kinds), replace=False)
        return [
            (
                kind,
                names[number],
                points[names[number]][int(rng.integers(len(points[names[number]])))],
            )
            for kind, number in zip(kinds, chosen.tolist(), strict=True)
        ]

    def _note(self, kind: str, objectid: str, archive: str, **point: Any) -> None:
        self._changes.append({"change": kind, "objectid": objectid, "archive": archive, **point})

    def _ztf(self, tables: Tables) -> Tables:
        (objects,) = tables
        n_epochs = objects["nepochs"].to_numpy()
        points = {
            objectid: [(row, epoch) for row in rows for epoch in range(n_epochs[row])]
            for objectid, rows in self._sources("ztf", objects, "objra", "objdec")
        }
        edit = _Edit()
        for kind, objectid, (number, epoch) in self._chosen("ztf", points):
            row = objects.slice(number, 1).to_pylist()[0]
            lists = row["lightcurve"]
            time_mjd = lists["hmjd"][epoch]
            if kind == "changed":
                lists["mag"][epoch] += 0.25
            elif kind == "withdrawn":
                for values in lists.values():
                    del values[epoch]
            else:
                for values in lists.values():
                    values.insert(epoch + 1, values[epoch])
                # Another epoch may follow within a night.
                time_mjd += 0.001
                lists["hmjd"][epoch + 1] = time_mjd
            row["nepochs"] = len(lists["hmjd"])
            edit.replaced[number] = row
            band, name = FILTER_BANDS[row["filterid"]], str(row["objectid"])
            self._note(kind, objectid, "ztf", band=band, survey_object_id=name, time_mjd=time_mjd)
        return (edit.applied(objects),)

    def _unwise(self, tables: Tables) -> Tables:
        (detections,) = tables
        points = dict(self._sources("unwise", detections, "ra", "dec"))
        edit = _Edit()
        for kind, objectid, number in self._chosen("unwise", points):
            row = detections.slice(number, 1).to_pylist()[0]
            if kind == "new":
                row["EPOCH"] = _NEW_EPOCH
                row["unwise_detid"] = row["unwise_detid"][:-3] + str(_NEW_EPOCH).encode()
                for name in ("MJDMIN", "MJDMAX", "MJDMEAN"):
                    row[name] += _LATER_D
            elif kind == "changed":
                row["flux"] += row["dflux"]
            _put(edit, kind, number, row)
            self._note(
                kind,
                objectid,
                "unwise",
                band=BANDS[row["band"]],
                survey_object_id=row["unwise_detid"].decode(),
                time_mjd=row["MJDMEAN"],
            )
        return (edit.applied(detections),)

    def _nsc(self, tables: Tables) -> Tables:
        objects, measured, exposures = tables
        of_object: dict[str, list[int]] = {}
        is_missing = measured["mag_auto"].to_numpy() == np.float32(MISSING_MAG)
        for number, name in enumerate(measured["objectid"].to_pylist()):
            if not is_missing[number]:
                of_object.setdefault(name, []).append(number)
        names = objects["id"].to_pylist()
        points = {
            objectid: [point for row in rows for point in of_object.get(names[row], ())]
            for objectid, rows in self._sources("nsc", objects, "ra", "dec")
        }
        of_exposure = {name: row for row, name in enumerate(exposures["exposure"].to_pylist())}
        edits = _Edit(), _Edit(), _Edit()
        for kind, objectid, number in self._chosen("nsc", points):
            row = measured.slice(number, 1).to_pylist()[0]
            place = of_exposure[row["exposure"]]
            exposure = exposures.slice(place, 1).to_pylist()[0]
            owner = names.index(row["objectid"])
            counted = objects.slice(owner, 1).to_pylist()[0]
            if kind == "changed":
                row["mag_auto"] += 0.25
            else:
                counted["ndet"] += 1 if kind == "new" else -1
                edits[0].replaced[owner] = counted
            if kind == "new":
                for one in (row, exposure):
                    one["mjd"] += _LATER_D
                    one["exposure"] = f"{one['exposure']}_r2_{len(self._changes)}"
                row["measid"] = f"{row['exposure']}.{row['ccdnum']}.1"
                edits[2].inserted[place] = exposure
            _put(edits[1], kind, number, row)
            self._note(
                kind,
                objectid,
                "nsc",
                band=row["filter"],
                survey_object_id=row["objectid"],
                exposure_id=row["exposure"],
                time_mjd=row["mjd"] + exposure["exptime"] / 2.0 / _DAY_S,
            )
        first, second, third = (edit.applied(one) for edit, one in zip(edits, tables, strict=True))
        return first, second, third

    def _xmm(self, tables: Tables) -> Tables:
        (detections,) = tables
        is_measured = np.isfinite(detections["ep_8_flux"].to_numpy())
        points = {
            objectid: [row for row in rows if is_measured[row]]
            for objectid, rows in self._sources("xmm", detections, "ra", "dec")
        }
        free_id = max(detections["detid"].to_pylist()) + 1
        edit = _Edit()
        for kind, objectid, number in self._chosen("xmm", points):
            row = detections.slice(number, 1).to_pylist()[0]
            if kind == "new":
                row |= {"detid": free_id, "time": row["time"] + _LATER_D}
                free_id += 1
            elif kind == "changed":
                row["ep_8_flux"] *= 1.25
            _put(edit, kind, number, row)
            self._note(
                kind,
                objectid,
                "xmm",
                band="EP_8",
                survey_object_id=str(row["srcid"]),
                exposure_id=str(row["detid"]),
                time_mjd=row["time"],
            )
        return (edit.applied(detections),)


def _put(edit: _Edit, kind: str, number: int, row: Row) -> None:
    """Let a row replace the one it is made of, or come after it; or take that one back."""
    if kind == "new":
        edit.inserted[number] = row
    else:
        edit.replaced[number] = row if kind == "changed" else None


_EDITORS: dict[str, Callable[[SecondRelease, Tables], Tables]] = {
    "nsc": SecondRelease._nsc,
    "unwise": SecondRelease._unwise,
    "xmm": SecondRelease._xmm,
    "ztf": SecondRelease._ztf,
}


def as_published(archive: str, tables: Tables) -> Tables:
    """Return the tables of an archive as the first release has them, in place of an edit."""
    return tables
