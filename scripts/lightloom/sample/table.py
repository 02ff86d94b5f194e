"""One table of targets: its columns checked and converted, row by row, to what the sample holds."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import astropy.units as u
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from lightloom.config_sources import TableSource
from lightloom.errors import SampleError
from lightloom.sample.cells import Cells
from lightloom.sample.coordinates import (
    FloatArray,
    designations,
    healpix_29,
    parse_numbers,
    parse_sexagesimal,
    to_icrs,
)
from lightloom.sample.cuts import within_cuts
from lightloom.sample.formats import read_cells
from lightloom.sample.rejects import BadCell

#: Range in which epochs are believed [Julian year].
EPOCHS_JYEAR = (1800.0, 2200.0)

#: A column of so many right ascensions, all below 24, looks like hours.
_MIN_ROWS_TO_HINT = 5

#: So many look like hours too much to go on, unless somebody has stated the unit.
_MIN_ROWS_TO_REFUSE = 20

#: Longest id or label: a file with columns of fixed width has as much for each row.
MAX_CHARACTERS = 1000

#: Of a cell that cannot be used a message shows so much.
_SHOWN_CHARACTERS = 200

#: Control characters, and what XML 1.0 cannot hold: exports could not be read again.
_UNWRITABLE = r"[\p{Cc}\x{fffe}\x{ffff}]"

#: Rows whose further columns are held as Python objects at a time.
_BLOCK_ROWS = 50_000

ROWS = pa.schema(
    [
        ("source", pa.string()),
        ("row", pa.int64()),
        ("id_column", pa.string()),
        ("objectid", pa.string()),
        ("label", pa.string()),
        ("row_label", pa.string()),
        ("ra_deg", pa.float64()),
        ("dec_deg", pa.float64()),
        ("pmra_masyr", pa.float64()),
        ("pmdec_masyr", pa.float64()),
        ("parallax_mas", pa.float64()),
        ("ref_epoch_jyear", pa.float64()),
        ("_healpix_29", pa.int64()),
        ("extra_columns", pa.string()),
    ]
)


@dataclass(frozen=True)
class TableRows:
    """The rows of one table.

    Attributes
    ----------
    rows : pyarrow.Table
        The good rows, in the schema ``ROWS``, in the order of the file.
    bad : list of BadCell
        What is wrong with the others.
    hints : list of str
        Remarks on values that are possible but unlikely.
    """

    rows: pa.Table
    bad: list[BadCell]
    hints: list[str]


def read_table(source: TableSource, file: Path) -> TableRows:
    """Read a table of targets and check every row.

    Parameters
    ----------
    source : TableSource
        The meaning of its columns, and which rows to keep.
    file : pathlib.Path
        Where the table is, or a copy of it.

    Returns
    -------
    TableRows

    Raises
    ------
    SampleError
        If the file as a whole cannot be used.
    """
    try:
        source.path.encode()
    except UnicodeEncodeError:
        raise SampleError(
            f"{source.path}: found a name that is no UTF-8 text, expected one; rename the file"
        ) from None
    named = [
        source.id,
        source.ra,
        source.dec,
        source.pmra,
        source.pmdec,
        source.parallax,
        source.ref_epoch,
        source.label_column,
    ]
    wanted = [name for name in dict.fromkeys(named) if isinstance(name, str)]
    columns = _Columns(source, read_cells(source, file, wanted))
    ids, labels = columns.ids(), columns.labels()
    lon_deg, lat_deg = columns.coordinates()
    pm_lon_masyr, pm_lat_masyr = columns.proper_motions()
    parallax_mas = columns.quantity(source.parallax, u.mas)
    ref_epoch_jyear = columns.epochs(~np.isnan(pm_lon_masyr))
    good = columns.good
    ra_deg, dec_deg, pmra_masyr, pmdec_masyr = to_icrs(
        lon_deg[good], lat_deg[good], (pm_lon_masyr[good], pm_lat_masyr[good]), source.frame
    )
    n_rows = len(ra_deg)
    names = (
        pa.array(designations(ra_deg, dec_deg), pa.string())
        if ids is None
        else ids.filter(pa.array(good))
    )
    rows = pa.table(
        {
            "source": _constant(source.path, n_rows),
            "row": columns.cells.rows[good],
            "id_column": _constant(source.id or "", n_rows),
            "objectid": names,
            "label": _constant(source.label, n_rows),
            "row_label": labels.filter(pa.array(good)),
            "ra_deg": ra_deg,
            "dec_deg": dec_deg,
            "pmra_masyr": pa.array(pmra_masyr, from_pandas=True),
            "pmdec_masyr": pa.array(pmdec_masyr, from_pandas=True),
            "parallax_mas": pa.array(parallax_mas[good], from_pandas=True),
            "ref_epoch_jyear": pa.array(ref_epoch_jyear[good], from_pandas=True),
            "_healpix_29": healpix_29(ra_deg, dec_deg),
            "extra_columns": columns.extra(wanted).filter(pa.array(good)),
        },
        schema=ROWS,
    )
    kept = within_cuts(source, ra_deg, dec_deg, names)
    if n_rows and not kept.any():
        columns.hints.append(f"{source.path}: none of {n_rows} good rows lies in the cone and moc")
    # Of a file with wrong rows more is known than that its last line may be cut.
    hints = columns.hints if columns.bad else [*columns.cells.hints, *columns.hints]
    return TableRows(rows.filter(pa.array(kept)), columns.bad, hints)


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."


def _constant(text: str | None, n_rows: int) -> pa.Array:
    return pa.repeat(pa.scalar(text, pa.string()), n_rows)


class _Columns:
    """The columns of a table, converted one by one; every cell that cannot be used is noted.

    Attributes
    ----------
    good : ndarray of bool, shape (n_rows,)
        Rows without a noted cell.
    bad : list of BadCell
        The noted cells.
    hints : list of str
        Likely causes of what was found.
    """

    def __init__(self, source: TableSource, cells: Cells) -> None:
        self.source = source
        self.cells = cells
        self.good = np.ones(len(cells.rows), dtype=bool)
        self.bad = list(cells.bad)
        self.hints: list[str] = []

    def ids(self) -> pa.Array | None:
        """Return the ids, if the table has a column of ids."""
        if self.source.id is None:
            return None
        self._note(self.source.id, self._is_blank(self.source.id), "an id")
        self._note_unwritable(self.source.id, "an id")
        return self.cells.columns[self.source.id]

    def labels(self) -> pa.Array:
        """Return each row's own label, null where there is none."""
        if self.source.label_column is None:
            return _constant(None, len(self.cells.rows))
        self._note_unwritable(self.source.label_column, "a label")
        cells = self.cells.columns[self.source.label_column]
        return pc.if_else(pc.equal(cells, ""), None, cells)

    def coordinates(self) -> tuple[FloatArray, FloatArray]:
        """Return longitudes and latitudes in the source's frame [deg]."""
        source = self.source
        given = u.Unit(source.unit or "deg")
        lon_unit = self._unit(source.ra, given)
        if source.unit is not None and lon_unit != given:
            raise SampleError(
                f"{source.path}: found the unit {lon_unit} of column {source.ra!r}, expected"
                f" {source.unit}, as the configuration says"
            )
        in_hours, lon_to_deg = lon_unit == u.hourangle, lon_unit.to(u.deg)
        parse = parse_sexagesimal if in_hours else parse_numbers
        lon_deg = parse(self.cells.columns[source.ra]) * lon_to_deg
        lat_unit = self._unit(source.dec, u.rad if source.unit == "rad" else u.deg)
        lat_deg = parse(self.cells.columns[source.dec]) * lat_unit.to(u.deg)
        galactic = source.frame == "galactic"
        lon, lat = ("longitude", "latitude") if galactic else ("right ascension", "declination")
        span = "24 h" if in_hours else f"{360 / lon_to_deg:g} {lon_unit}"
        # A comparison with NaN is false, so that text is noted with what is out of range.
        self._note(source.ra, ~((lon_deg >= 0) & (lon_deg <= 360)), f"a {lon} from 0 to {span}")
        self._note(source.dec, ~(np.abs(lat_deg) <= 90), f"a {lat} from -90 to 90 deg")
        if not galactic:
            self._doubt_unit(lon_deg, lat_deg, lon_unit)
        return lon_deg, lat_deg

    def extra(self, used: Sequence[str]) -> pa.Array:
        """Return the further columns of each row as a JSON object, null where there is none."""
        names = [name for name in self.cells.columns if name not in used]
        if not names:
            return _constant(None, len(self.cells.rows))
        others = pa.table({name: self.cells.columns[name] for name in names})
        texts: list[str] = []
        for block in others.to_batches(_BLOCK_ROWS):
            values = zip(*(column.to_pylist() for column in block.columns), strict=True)
            texts += [
                json.dumps({n: v for n, v in zip(names, row, strict=True) if v}, ensure_ascii=False)
                for row in values
            ]
        return pa.array(texts, pa.string())

    def proper_motions(self) -> tuple[FloatArray, FloatArray]:
        """Return proper motions in longitude and latitude [mas/yr], NaN where there is none."""
        source = self.source
        pm_lon, pm_lat = (
            self.quantity(column, u.mas / u.yr) for column in (source.pmra, source.pmdec)
        )
        if source.pmra is not None and source.pmdec is not None:
            blank_lon, blank_lat = self._is_blank(source.pmra), self._is_blank(source.pmdec)
            self._note(source.pmra, blank_lon & ~blank_lat, f"a number, as {source.pmdec} has one")
            self._note(source.pmdec, blank_lat & ~blank_lon, f"a number, as {source.pmra} has one")
        return pm_lon, pm_lat

    def epochs(self, moves: NDArray[np.bool_]) -> FloatArray:
        """Return the epochs of the positions [Julian year]; rows that move must have one."""
        column = self.source.ref_epoch
        if isinstance(column, str):
            epoch_jyear = self.quantity(column, u.yr)
            low, high = EPOCHS_JYEAR
            expected = f"a Julian year from {low:g} to {high:g}"
            self._note(column, (epoch_jyear < low) | (epoch_jyear > high), expected)
            self._note(column, self._is_blank(column) & moves, f"{expected}, as the row moves")
            return epoch_jyear
        return np.full(len(self.cells.rows), np.nan if column is None else float(column))

    def quantity(self, column: str | None, unit: u.UnitBase) -> FloatArray:
        """Return a column in a unit, NaN where a cell is blank or the column is not given."""
        if column is None:
            return np.full(len(self.cells.rows), np.nan)
        values = parse_numbers(self.cells.columns[column]) * self._unit(column, unit).to(unit)
        wrong = np.isnan(values) & ~self._is_blank(column)
        self._note(column, wrong, f"a finite number [{unit}] or nothing")
        return values

    def _is_blank(self, column: str) -> NDArray[np.bool_]:
        missing = ["", "nan"] if self.cells.nan_is_blank else [""]
        cells = self.cells.columns[column]
        blank: NDArray[np.bool_] = np.asarray(pc.is_in(cells, pa.array(missing)))
        return blank

    def _note_unwritable(self, column: str, what: str) -> None:
        cells = self.cells.columns[column]
        wrong = pc.match_substring_regex(cells, _UNWRITABLE)
        self._note(column, np.asarray(wrong), f"{what} without control characters")
        too_long = pc.greater(pc.utf8_length(cells), MAX_CHARACTERS)
        self._note(column, np.asarray(too_long), f"{what} of at most {MAX_CHARACTERS} characters")

    def _unit(self, column: str, wanted: u.UnitBase) -> u.UnitBase:
        """Return the unit that the file states for a column, or the wanted one."""
        stated = self.cells.units.get(column, str(wanted))
        try:
            unit = u.Unit(stated)
            unit.to(wanted)
        except (ValueError, u.UnitConversionError):
            raise SampleError(
                f"{self.source.path}: found the unit {stated!r} of column {column!r}, expected one"
                f" that converts to {wanted}"
            ) from None
        return unit

    def _note(self, column: str, wrong: NDArray[np.bool_], expected: str) -> None:
        self.good &= ~wrong
        places = np.flatnonzero(wrong)
        texts = self.cells.columns[column].take(pa.array(places)).to_pylist()
        for row, text in zip(self.cells.rows[places].tolist(), texts, strict=True):
            found = _shortened(repr(text)) if text else "nothing"
            self.bad.append(BadCell(self.source.path, row, column, found, expected))

    def _doubt_unit(self, ra_deg: FloatArray, dec_deg: FloatArray, unit: u.UnitBase) -> None:
        """Hint at another unit, or refuse the table if nobody has stated that of many rows."""
        path, column = self.source.path, self.source.ra
        known = ra_deg[~np.isnan(ra_deg)]
        if unit == u.hourangle and np.any(known > 360):
            self.hints.append(f"{path}: if column {column!r} holds degrees, set unit: deg")
        if unit != u.deg:
            return
        if len(known) >= _MIN_ROWS_TO_HINT and known.max() <= 24:
            doubt = f"{path}: all values of column {column!r} are at most 24; if they are hours,"
            doubt += " set unit: hourangle"
            if known.max() <= 2 * np.pi and np.nanmax(np.abs(dec_deg)) <= np.pi / 2:
                doubt += "; if they are radians, set unit: rad"
            stated = self.source.unit is not None or column in self.cells.units
            if np.count_nonzero(self.good) >= _MIN_ROWS_TO_REFUSE and not stated:
                raise SampleError(f"{doubt}; if they are degrees, say so with unit: deg")
            self.hints.append(doubt)
        sexagesimal = ~np.isnan(parse_sexagesimal(self.cells.columns[column]))
        if np.any(sexagesimal & np.isnan(ra_deg)):
            text = f"{path}: column {column!r} holds sexagesimal text; if it is in hours"
            self.hints.append(f"{text}, set unit: hourangle")
