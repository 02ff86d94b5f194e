"""Samples from tables: what comes through, and the message for everything that does not."""

from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import Table
from written_tables import error_lines, table

from lightloom.config_schema import SCHEMAS
from lightloom.config_sources import TableSource
from lightloom.errors import SampleError
from lightloom.sample.clean import TARGETS, sort_targets
from lightloom.sample.read import read_sample


def test_yang_2018() -> None:
    path = str(SCHEMAS.parent / "samples" / "yang2018.csv")
    source = TableSource("table", path, "ra", "dec", id="name", label="Yang 2018")
    sample = read_sample([source])
    assert sample.targets.num_rows == 30
    assert sample.targets.schema == TARGETS
    assert sum(map(len, sample.targets["source_rows"].to_pylist())) == 31
    assert sample.rejected.num_rows == 0
    assert sample.hints == ()
    (merge,) = sample.merged.to_pylist()
    separation_arcsec = merge.pop("separation_arcsec")
    first, second = SkyCoord([29.99, 29.99015] * u.deg, [0.55301, 0.55288] * u.deg)
    assert separation_arcsec == pytest.approx(first.separation(second).arcsec, rel=1e-9)
    assert merge == {
        "objectid": "WISEA J015957.63+003310.3",
        "source_row": f"{path}:5",
        "merged_id": "2MASS J01595763+0033105",
        "merged_source_row": f"{path}:4",
    }
    kept = sample.targets.to_pylist()
    (target,) = [row for row in kept if row["objectid"] == "WISEA J015957.63+003310.3"]
    assert (target["ra_deg"], target["dec_deg"]) == (29.99015, 0.55288)
    assert target["source_ids"] == ["2MASS J01595763+0033105", "WISEA J015957.63+003310.3"]
    assert target["source_rows"] == [f"{path}:4", f"{path}:5"]
    assert target["labels"] == ["Yang 2018"]
    assert sort_targets(sample.targets).equals(sample.targets)


def test_ids_are_kept_as_written() -> None:
    ids = ["9223372036854775807", "007", "0x1F", "1e5", "NaN", "a,b", 'say "x"', "Mrk  421", "Å"]
    rows = "".join(
        '"{}",{},0\n'.format(name.replace('"', '""'), 10 + place) for place, name in enumerate(ids)
    )
    sample = read_sample([table("id,ra,dec\n" + rows, id="id")])
    assert sorted(sample.targets["objectid"].to_pylist()) == sorted(ids)


def test_ids_of_an_ecsv_keep_64_bits() -> None:
    ids = np.array([2**63 - 1, 2**53 + 1, 4])
    Table({"id": ids, "ra": [1.0, 2.0, 3.0], "dec": [1.0, 2.0, 3.0]}).write("t.ecsv")
    sample = read_sample([TableSource("table", "t.ecsv", "ra", "dec", id="id")])
    assert set(sample.targets["objectid"].to_pylist()) == set(map(str, ids))


def test_name_does_not_depend_on_other_rows() -> None:
    few = read_sample([table("ra,dec\n10.5,-1\n")])
    many = read_sample([table("ra,dec\n1,2\n3,4\n10.5,-1\n")])
    assert few.targets["objectid"].to_pylist() == ["J004200.00-010000.0"]
    assert "J004200.00-010000.0" in many.targets["objectid"].to_pylist()


@pytest.mark.parametrize(
    "text",
    [
        "id,ra,dec\nA,1,2\nB,3,4\n",
        "id,ra,dec\r\nA,1,2\r\nB,3,4",
        "\ufeffid,ra,dec\nA,1,2\nB,3,4\n",
        "id, ra, dec\n\nA, 1, 2\n\n B , +3 , 4.\n\n",
        'dec,note,ra,id\n2,"two\nlines",1.0e0,A\n4,,3,B\n',
    ],
    ids=["plain", "windows", "byte order mark", "spaced", "other order"],
)
def test_ways_of_writing_a_csv(text: str) -> None:
    targets = read_sample([table(text, id="id")]).targets.sort_by("objectid")
    columns = targets.select(["objectid", "ra_deg", "dec_deg"]).to_pydict()
    assert columns == {"objectid": ["A", "B"], "ra_deg": [1.0, 3.0], "dec_deg": [2.0, 4.0]}


def test_rows_are_lines_of_the_file() -> None:
    text = 'id,ra,dec,note\n\nA,1,2,"of two\nlines"\n\nC,3,400,\n'
    assert error_lines(table(text, id="id")) == [
        "t.csv, row 6, column 'dec': found '400', expected a declination from -90 to 90 deg"
    ]
    good = read_sample([table(text.replace("400", "40"), id="id")])
    assert good.targets.sort_by("objectid")["source_rows"].to_pylist() == [["t.csv:3"], ["t.csv:6"]]


def test_labels_of_all_sources_are_kept() -> None:
    first = table("ra,dec,type\n10,20,QSO\n50,60,\n", "a.csv", label="A", label_column="type")
    second = table("ra,dec\n10.0001,20\n", "b.csv", label="B")
    sample = read_sample([first, second])
    labels = dict(
        zip(
            (rows[0] for rows in sample.targets["source_rows"].to_pylist()),
            sample.targets["labels"].to_pylist(),
            strict=True,
        )
    )
    assert labels == {"a.csv:2": ["A", "B", "QSO"], "a.csv:3": ["A"]}


def test_label_is_not_needed() -> None:
    assert read_sample([table("ra,dec\n1,2\n")]).targets["labels"].to_pylist() == [[]]


def test_sexagesimal_coordinates() -> None:
    text = "ra,dec\n00:34:05.23,-01:23:45.6\n12h30m0s,+12d30m00s\n1 2 3,−0 0 36\n6.5,45.25\n"
    targets = read_sample([table(text, unit="hourangle")]).targets.sort_by("ra_deg")
    assert targets["ra_deg"].to_pylist() == pytest.approx([8.521791667, 15.5125, 97.5, 187.5])
    assert targets["dec_deg"].to_pylist() == pytest.approx([-1.396, -0.01, 45.25, 12.5])


@pytest.mark.parametrize("frame", ["fk5", "galactic"])
def test_other_frames(frame: str) -> None:
    source = table(
        "ra,dec,pml,pmb,epoch\n266,-28.5,12.5,-7,2016\n3,45,,,\n",
        frame=frame,
        pmra="pml",
        pmdec="pmb",
        ref_epoch="epoch",
    )
    targets = read_sample([source]).targets.sort_by([("pmra_masyr", "ascending")]).to_pydict()
    if frame == "fk5":
        pm = {"pm_ra_cosdec": 12.5 * u.mas / u.yr, "pm_dec": -7 * u.mas / u.yr}
    else:
        pm = {"pm_l_cosb": 12.5 * u.mas / u.yr, "pm_b": -7 * u.mas / u.yr}
    moving = SkyCoord(266 * u.deg, -28.5 * u.deg, frame=frame, **pm).icrs
    still = SkyCoord(3 * u.deg, 45 * u.deg, frame=frame).icrs
    assert targets["ra_deg"] == pytest.approx([moving.ra.deg, still.ra.deg], abs=1e-12)
    assert targets["dec_deg"] == pytest.approx([moving.dec.deg, still.dec.deg], abs=1e-12)
    assert targets["pmra_masyr"] == [pytest.approx(moving.pm_ra_cosdec.value), None]
    assert targets["pmdec_masyr"] == [pytest.approx(moving.pm_dec.value), None]
    assert targets["ref_epoch_jyear"] == [2016.0, None]


def test_units_of_an_ecsv_are_honoured() -> None:
    Table(
        {
            "RA": [1.5, 23.0] * u.hourangle,
            "DEC": [30.0, -60.0] * u.arcmin,
            "pm1": [0.5, -0.5] * u.arcsec / u.yr,
            "pm2": [1.0, 2.0] * u.mas / u.yr,
            "plx": [0.01, 0.02] * u.arcsec,
        }
    ).write("t.ecsv")
    source = TableSource(
        "table", "t.ecsv", "RA", "DEC", pmra="pm1", pmdec="pm2", parallax="plx", ref_epoch=2015.5
    )
    targets = read_sample([source]).targets.sort_by("ra_deg").to_pydict()
    assert targets["ra_deg"] == pytest.approx([22.5, 345.0])
    assert targets["dec_deg"] == pytest.approx([0.5, -1.0])
    assert targets["pmra_masyr"] == pytest.approx([500.0, -500.0])
    assert targets["pmdec_masyr"] == [1.0, 2.0]
    assert targets["parallax_mas"] == pytest.approx([10.0, 20.0])
    assert targets["ref_epoch_jyear"] == [2015.5, 2015.5]


@pytest.mark.parametrize("delimiter", [" ", ","])
def test_ecsv_with_gaps_and_spaces(delimiter: str) -> None:
    Table(
        {"id": ["Mrk 421", "b"], "ra": [1.0, 2.0], "dec": [1.0, 2.0], "pm": [np.nan, 3.0]},
        masked=True,
    ).write("t.ecsv", delimiter=delimiter)
    text = Path("t.ecsv").read_text().replace("nan", '""' if delimiter == " " else "")
    source = table(text, "t.ecsv", id="id", pmra="pm", pmdec="pm", ref_epoch=2000)
    targets = read_sample([source]).targets.sort_by("ra_deg").to_pydict()
    assert targets["objectid"] == ["Mrk 421", "b"]
    assert targets["pmra_masyr"] == [None, 3.0]


def test_right_ascension_of_a_full_turn_is_zero() -> None:
    targets = read_sample([table("id,ra,dec\nA,360,1\nB,0,1\n", id="id")]).targets
    assert targets["ra_deg"].to_pylist() == [0.0]
    assert targets["source_ids"].to_pylist() == [["A", "B"]]


def test_order_of_the_rows_does_not_matter() -> None:
    rng = np.random.default_rng(7)
    ra, dec = rng.uniform(0, 0.01, 300), rng.uniform(-0.005, 0.005, 300)
    rows = [
        f"{x:.6f},{y:.6f},{1 + place % 3}\n"
        for place, (x, y) in enumerate(zip(ra, dec, strict=True))
    ]
    rows += rows[:40]
    tables = []
    for order in (range(len(rows)), rng.permutation(len(rows))):
        source = table("ra,dec,plx\n" + "".join(rows[i] for i in order), parallax="plx", unit="deg")
        targets = read_sample([source], merge_radius_arcsec=2).targets
        tables.append(targets.drop_columns("source_rows"))
    assert 10 < tables[0].num_rows < 300
    assert tables[0].equals(tables[1])


HEADER = "id,ra,dec,pmra,pmdec,epoch,plx\n"
GOOD = "A,10,20,1,2,2016,3\n"
FULL = {"id": "id", "pmra": "pmra", "pmdec": "pmdec", "ref_epoch": "epoch", "parallax": "plx"}
RA = "expected a right ascension from 0 to 360 deg"
DEC = "expected a declination from -90 to 90 deg"
PM = "expected a finite number [mas / yr] or nothing"

#: A row after the good one, and all lines of the error.
WRONG_ROWS: dict[str, tuple[str, *tuple[str, ...]]] = {
    "no right ascension": ("B,,1,,,,", f"column 'ra': found nothing, {RA}"),
    "text as right ascension": ("B,abc,1,,,,", f"column 'ra': found 'abc', {RA}"),
    "not a number": ("B,nan,1,,,,", f"column 'ra': found 'nan', {RA}"),
    "infinite": (
        "B,inf,-inf,,,,",
        f"column 'ra': found 'inf', {RA}",
        f"column 'dec': found '-inf', {DEC}",
    ),
    "overflow": ("B,1e999,1,,,,", f"column 'ra': found '1e999', {RA}"),
    "number of a program": ("B,1_0,1,,,,", f"column 'ra': found '1_0', {RA}"),
    "decimal comma": ('B,"1,5",1,,,,', f"column 'ra': found '1,5', {RA}"),
    "negative right ascension": ("B,-10,1,,,,", f"column 'ra': found '-10', {RA}"),
    "right ascension beyond a turn": ("B,360.1,1,,,,", f"column 'ra': found '360.1', {RA}"),
    "declination beyond the pole": ("B,1,90.01,,,,", f"column 'dec': found '90.01', {DEC}"),
    "no id": (" ,1,1,,,,", "column 'id': found nothing, expected an id"),
    "infinite proper motion": ("B,1,1,inf,2,2016,", f"column 'pmra': found 'inf', {PM}"),
    "text as proper motion": ("B,1,1,1,fast,2016,", f"column 'pmdec': found 'fast', {PM}"),
    "half a proper motion": (
        "B,1,1,1,,2016,",
        "column 'pmdec': found nothing, expected a number, as pmra has one",
    ),
    "proper motion without an epoch": (
        "B,1,1,1,2,,",
        "column 'epoch': found nothing, expected a Julian year from 1800 to 2200, as the row moves",
    ),
    "epoch as MJD": (
        "B,1,1,1,2,57388,",
        "column 'epoch': found '57388', expected a Julian year from 1800 to 2200",
    ),
    "text as parallax": (
        "B,1,1,,,,?",
        "column 'plx': found '?', expected a finite number [mas] or nothing",
    ),
    "too few fields": ("B,1,1", "found 3 fields, expected 7 fields"),
    "too many fields": ("B,1,1,,,,,", "found 8 fields, expected 7 fields"),
    "cut off": ("B", "found 1 field, expected 7 fields"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG_ROWS)
def test_wrong_row(name: str) -> None:
    row, *problems = WRONG_ROWS[name]
    source = table(HEADER + GOOD + row, **FULL)
    separator = ["t.csv, row 3" + (": " if p.startswith("found") else ", ") for p in problems]
    assert error_lines(source) == [s + p for s, p in zip(separator, problems, strict=True)]
    sample = read_sample([source], "skip")
    assert sample.targets["objectid"].to_pylist() == ["A"]
    assert sample.rejected["row"].to_pylist() == [3] * len(problems)


def test_rejected_rows_are_kept_as_a_table() -> None:
    source = table("id,ra,dec\nA,10,20\nB,x,1\nC,400,99\nD,1\n", id="id")
    assert read_sample([source], "skip").rejected.to_pylist() == [
        {
            "source": "t.csv",
            "row": row,
            "column": column,
            "found": found,
            "expected": expected.removeprefix("expected "),
        }
        for row, column, found, expected in [
            (3, "ra", "'x'", RA),
            (4, "ra", "'400'", RA),
            (4, "dec", "'99'", DEC),
            (5, "", "2 fields", "3 fields"),
        ]
    ]


def test_every_bad_row_is_counted_and_twenty_are_listed() -> None:
    source = table("ra,dec\n" + "1,100\n" * 500)
    with pytest.raises(SampleError) as caught:
        read_sample([source])
    lines = str(caught.value).split("\n  ")
    assert lines[0] == "500 problems in the sample:"
    assert [line.split(",")[1] for line in lines[1:21]] == [f" row {row}" for row in range(2, 22)]
    assert lines[21:] == [
        "and 480 more",
        "t.csv: all values of column 'ra' are at most 24; if they are hours, set unit: hourangle",
    ]


def test_sample_without_a_good_row() -> None:
    source = table("ra,dec\n1,100\n")
    with pytest.raises(SampleError, match=r"row 2, column 'dec': found '100'"):
        read_sample([source], "skip")


def test_problems_of_all_sources_are_listed_at_once() -> None:
    sources = [
        table("ra,dec\n1,100\n", "a.csv"),
        TableSource("table", "missing.csv", "ra", "dec"),
        table("RA,dec\n1,1\n", "b.csv"),
        table("id,ra,dec\nX,1,1\nX,2,2\n", "c.csv", id="id"),
    ]
    assert error_lines(*sources) == [
        "missing.csv: no such file, expected a table of targets",
        "b.csv: found no column 'ra', did you mean 'RA'? expected one of ['RA', 'dec']",
        f"a.csv, row 2, column 'dec': found '100', {DEC}",
        "c.csv, row 2, column 'id': found 'X', also in c.csv, row 3, 5090.26 arcsec away,"
        " expected one place for an id, within 1 arcsec",
        "c.csv, row 3, column 'id': found 'X', also in c.csv, row 2, 5090.26 arcsec away,"
        " expected one place for an id, within 1 arcsec",
    ]


ECSV = (
    "# %ECSV 1.0\n# ---\n# datatype:\n"
    "# - {name: ra, unit: deg, datatype: float64}\n# - {name: dec, unit: deg, datatype: float64}\n"
    "ra dec\n1.0 2.0\n"
)

#: File name, content, options of the source, and all lines of the error.
WRONG_FILES: dict[str, tuple[str, str | bytes, dict[str, str], list[str]]] = {
    "other format": (
        "t.txt",
        "ra,dec\n1,2\n",
        {},
        [
            "t.txt: found the suffix '.txt', expected one of .csv, .ecsv, .fits, .fit, .vot,"
            " .votable, .xml, .parquet, .pq, or the key format"
        ],
    ),
    "empty": (
        "t.csv", "", {}, ["t.csv: found an empty file, expected a line of column names and rows"],
    ),
    "no rows": ("t.csv", "ra,dec\n", {}, ["t.csv: found no row, expected at least one target"]),
    "missing columns": (
        "t.csv",
        "name,RAJ2000,DEJ2000\nA,1,2\n",
        {"id": "nane"},
        [
            f"t.csv: found no column {wrong} expected one of ['name', 'RAJ2000', 'DEJ2000']"
            for wrong in ("'nane', did you mean 'name'?", "'ra',", "'dec',")
        ],
    ),
    "other separator": (
        "t.csv",
        "ra;dec\n1;2\n",
        {},
        [
            "t.csv: found no column 'ra', expected one of ['ra;dec']",
            "t.csv: found no column 'dec', did you mean 'ra;dec'? expected one of ['ra;dec']",
        ],
    ),
    "column twice": (
        "t.csv", "ra,ra,dec\n1,2,3\n", {}, ["t.csv: found 2 columns 'ra', expected one"],
    ),
    "not UTF-8": (
        "t.csv",
        "id,ra,dec\nA,1,2\nÅ,3,4\n".encode("latin-1"),
        {},
        ["t.csv, row 3: found bytes that are not UTF-8 text"],
    ),
    "open quote": (
        "t.csv",
        'id,ra,dec\nA,1,2\n"B,3,4\nC,5,6\n',
        {},
        ["t.csv, row 3: found a damaged row (unexpected end of data), expected quotes in pairs"],
    ),
    "no ECSV": (
        "t.ecsv",
        "ra,dec\n1,2\n",
        {},
        ["t.ecsv, row 1: found no ECSV header, expected '# %ECSV 1.0'"],
    ),
    "ECSV cut in its header": (
        "t.ecsv",
        "".join(ECSV.splitlines(keepends=True)[:4]),
        {},
        ["t.ecsv: found an empty file, expected a line of column names and rows"],
    ),
    **{
        f"ECSV with a damaged header, {name}": (
            "t.ecsv",
            ECSV.replace(*damage),
            {},
            [
                f"t.ecsv, rows 1 to {5 + damage[1].count('#')}: found a damaged ECSV header,"
                " expected its columns and their delimiter, a space or a comma"
            ],
        )
        for name, damage in {
            "no YAML": ("datatype:\n", "datatype: [\n"),
            "no columns": ("datatype:", "types:"),
            "no name": ("name: ra", "name: null"),
            "delimiter": ("datatype:\n", "delimiter: '|'\n# datatype:\n"),
        }.items()
    },
    "ECSV with other columns": (
        "t.ecsv",
        ECSV.replace("ra dec\n", "ra decl\n"),
        {},
        ["t.ecsv, row 6: found the columns ra, decl, expected those of the ECSV header: ra, dec"],
    ),
    "ECSV cut in a row": (
        "t.ecsv", ECSV + "3.0", {}, ["t.ecsv, row 8: found 1 field, expected 2 fields"],
    ),
    "unit of another quantity": (
        "t.ecsv",
        ECSV.replace("dec, unit: deg", "dec, unit: km"),
        {},
        ["t.ecsv: found the unit 'km' of column 'dec', expected one that converts to deg"],
    ),
    "unknown unit": (
        "t.ecsv",
        ECSV.replace("ra, unit: deg", "ra, unit: degrees of arc"),
        {},
        [
            "t.ecsv: found the unit 'degrees of arc' of column 'ra',"
            " expected one that converts to deg"
        ],
    ),
    "units that contradict": (
        "t.ecsv",
        ECSV,
        {"unit": "hourangle"},
        [
            "t.ecsv: found the unit deg of column 'ra',"
            " expected hourangle, as the configuration says"
        ],
    ),
    "degrees taken for hours": (
        "t.csv",
        "ra,dec\n150.5,2\n",
        {"unit": "hourangle"},
        [
            "t.csv, row 2, column 'ra': found '150.5', expected a right ascension from 0 to 24 h",
            "t.csv: if column 'ra' holds degrees, set unit: deg",
        ],
    ),
    "sexagesimal taken for degrees": (
        "t.csv",
        "ra,dec\n10:20:30,2\n",
        {},
        [
            f"t.csv, row 2, column 'ra': found '10:20:30', {RA}",
            "t.csv: column 'ra' holds sexagesimal text; if it is in hours, set unit: hourangle",
        ],
    ),
    "61 minutes": (
        "t.csv",
        "ra,dec\n10:61:30,2\n",
        {"unit": "hourangle"},
        ["t.csv, row 2, column 'ra': found '10:61:30', expected a right ascension from 0 to 24 h"],
    ),
    "galactic longitude": (
        "t.csv",
        "ra,dec\n-10,2\n",
        {"frame": "galactic"},
        ["t.csv, row 2, column 'ra': found '-10', expected a longitude from 0 to 360 deg"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG_FILES)
def test_wrong_file(name: str) -> None:
    path, content, options, lines = WRONG_FILES[name]
    assert error_lines(table(content, path, **options)) == lines


def test_half_read_file_names_its_last_row() -> None:
    text = "id,ra,dec\n" + "".join(f"T{row},{row},{row}\n" for row in range(80))
    assert error_lines(table(text[:-4], id="id")) == [
        "t.csv, row 81: found 2 fields, expected 3 fields"
    ]


def test_values_that_may_be_hours_are_a_hint_not_an_error() -> None:
    sample = read_sample([table("ra,dec\n" + "".join(f"{ra},1\n" for ra in range(8)))])
    assert sample.targets.num_rows == 8
    assert sample.hints == (
        "t.csv: all values of column 'ra' are at most 24; if they are hours, set unit: hourangle",
    )
