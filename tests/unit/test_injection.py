"""Hostile texts appear as text, or are refused with a message that is safe to print."""

import base64
import csv
import gzip
import io
import json
import logging
import os
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import sqlglot
from astropy.io import votable
from astropy.table import Table

from hostile_strings import HOSTILE, REFUSED
from lightloom.config_sources import TableSource
from lightloom.errors import ArchiveError, LightloomError, SampleError
from lightloom.export import ExportSource, export
from lightloom.logs import job_logging
from lightloom.plots.interactive import write_page
from lightloom.plots.lightcurves import plot_target
from lightloom.plots.statemap import plot_state_map
from lightloom.plots.states import tabulate_states
from lightloom.plots.targets import Target
from lightloom.printing import printable
from lightloom.read import Dataset, Selection, read_lightcurves
from lightloom.sample.read import read_sample
from lightloom.sample.sources import arrivals, set_aside
from lightloom.services.tap_adql import _literal
from lightloom.services.tap_votable import upload_bytes
from recorded_run import record_run
from small_run import SmallRun, lightcurve_row

SHARD = "allsky"
#: Ids as a sample gives them: without space around them.
IDS = [text.strip() for text in HOSTILE]
PLACES = {text: (10.0 + n, -5.0) for n, text in enumerate(IDS)}
ASCII = [text for text in IDS if text.isascii()]
#: What ends or turns a line in a terminal.
OBEYED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def test_there_are_many() -> None:
    assert len(set(IDS)) == len(HOSTILE) >= 60


def table_source(path: str, **options: str) -> TableSource:
    names = {"id": "id", "label_column": "label", "ra": "ra", "dec": "dec", "unit": "deg"}
    return TableSource(**{"kind": "table", "path": path, **names, **options})


def columns_of(texts: list[str]) -> dict[str, list]:
    """A table whose ids, labels, further cells and names of further columns are hostile."""
    n = len(texts)
    columns = {
        "id": texts,
        "label": texts[::-1],
        "ra": [10.0 + i for i in range(n)],
        "dec": [-5.0] * n,
    }
    return columns | dict.fromkeys(texts, texts)


def write_sample(path: Path, texts: list[str]) -> None:
    columns = columns_of(texts)
    if path.suffix == ".parquet":
        pq.write_table(pa.table(columns), path)
    elif path.suffix == ".csv":
        with path.open("w", newline="") as file:
            writer = csv.writer(file, quoting=csv.QUOTE_NONNUMERIC)
            writer.writerow(columns)
            writer.writerows(zip(*columns.values(), strict=True))
    else:
        Table(columns).write(path, delimiter=",")


# In typed tables nan is a missing value.
@pytest.mark.parametrize(("suffix", "left_out"), [("csv", ()), ("ecsv", ()), ("parquet", ("nan",))])
def test_ids_labels_and_columns_of_a_sample(
    tmp_path: Path, suffix: str, left_out: tuple[str, ...]
) -> None:
    texts = [text for text in IDS if text not in left_out and "\u2028" not in text]
    file = tmp_path / f"t.{suffix}"
    write_sample(file, texts)
    sample = read_sample([table_source(str(file))])
    targets = sample.targets.sort_by("ra_deg")
    assert targets["objectid"].to_pylist() == texts
    assert targets["labels"].to_pylist() == [[text] for text in texts[::-1]]
    further = [json.loads(row) for row in sample.extra_columns["extra_columns"].to_pylist()]
    assert {row[text] for row in further for text in texts} == set(texts)
    assert all(list(row) == texts for row in further)


@pytest.mark.parametrize("text", REFUSED, ids=range(len(REFUSED)))
@pytest.mark.parametrize("column", ["id", "label"])
def test_unwritable_ids_and_labels_are_refused(tmp_path: Path, text: str, column: str) -> None:
    file = tmp_path / "t.parquet"
    columns = {"id": ["a"], "label": ["b"], "ra": [1.0], "dec": [2.0]} | {column: [text]}
    pq.write_table(pa.table(columns), file)
    with pytest.raises(SampleError, match=rf"row 1, column '{column}': found '") as error:
        read_sample([table_source(str(file))])
    assert not OBEYED.search(str(error.value))
    assert len(str(error.value)) < 600


def test_unwritable_names_of_columns_are_shown_escaped(tmp_path: Path) -> None:
    file = tmp_path / "t.parquet"
    names = [*IDS, *REFUSED]
    pq.write_table(pa.table({name: ["x"] for name in names}), file)
    with pytest.raises(SampleError, match="found no column 'id'") as error:
        read_sample([table_source(str(file))])
    assert not OBEYED.search(str(error.value))


def file_name(text: str) -> bytes:
    return text.replace("/", "∕").encode("utf-8", "surrogateescape")[:240]


def test_tables_in_an_inbox_may_have_any_name(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    texts = [text for text in (*IDS, *REFUSED) if "\0" not in text and text not in ("-", "..")]
    for n, text in enumerate(texts):
        name = os.fsencode(inbox) + b"/t" + file_name(text) + b".csv"
        Path(os.fsdecode(name)).write_text(f"id,ra,dec\nn{n},{n},5\n")
    Path(os.fsdecode(os.fsencode(inbox) + b"/\xff\xfe.csv")).write_text("id,ra,dec\nlast,1,2\n")
    found = arrivals(inbox)
    assert len(found) == len(texts) + 1
    sources = [table_source(str(path), label_column=None, kind="inbox", ra="ra") for path in found]
    sample = read_sample(sources)
    assert set(sample.targets["objectid"].to_pylist()) == {f"n{n}" for n in range(len(texts))}
    ((wrong, message),) = sample.wrong_arrivals.items()
    assert "no UTF-8 text" in message
    assert not OBEYED.search(message)
    message.encode()
    long = inbox / f"{'z' * 251}.csv"
    long.write_text("no table")
    set_aside({wrong: message, str(long): "no table"})
    assert len(arrivals(inbox)) == len(texts)
    assert len(list((inbox / "failed").iterdir())) == 4


@pytest.fixture
def results(small_run: SmallRun) -> Path:
    """Results whose targets, bands, survey objects and messages are all hostile."""
    return write_hostile(small_run, IDS)


def write_hostile(run: SmallRun, texts: list[str]) -> Path:
    run.catalogue = ("hcv", "ztf")
    run.add_shard(SHARD, {text: PLACES[text] for text in texts})
    rows = [
        lightcurve_row(
            text,
            "hcv",
            band=other,
            survey_object_id=other,
            survey_field=other,
            exposure_id=other,
            time_mjd=58000.0 + n,
            time_mjd_tdb=58000.0 + n,
            native_columns=json.dumps({other: other}),
        )
        for text in texts
        for n, other in enumerate(texts if text == texts[0] else [text])
    ]
    failed = dict.fromkeys(texts, "failed")
    messages = {text: ("transient", f"the archive says: {text}") for text in texts}
    parts = [run.add_part("hcv", SHARD, rows), run.add_part("ztf", SHARD, [], failed, messages)]
    run.merge(SHARD, parts, allow_partial=True)
    run.finish({text: [text] for text in texts})
    record_run(run, run.catalogue)
    return run.results


TEXTS = ("objectid", "band", "survey_object_id", "survey_field", "exposure_id", "native_columns")


def exported(results: Path, path: Path) -> pa.Table:
    source = ExportSource(Dataset(results), Selection(view="all"))
    export(source, path)
    return pa.concat_tables(source.blocks())


def cells(table: Table, name: str) -> list[str]:
    values = np.ma.asarray(table[name]).filled("")
    return [one.decode() if isinstance(one, bytes) else str(one) for one in values.tolist()]


@pytest.mark.parametrize("suffix", ["ecsv", "vot", "parquet"])
def test_exports_are_read_back_equal(results: Path, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"$(touch x) '\"{{}}.{suffix}"
    rows = exported(results, path)
    if suffix == "parquet":
        assert pq.read_table(path).equals(rows)
        return
    if suffix == "ecsv":
        table = Table.read(path, format="ascii.ecsv")
    else:
        table = votable.parse(path, verify="exception").get_first_table().to_table()
    assert len(table) == rows.num_rows
    for name in TEXTS:
        assert cells(table, name) == rows[name].to_pylist(), name


def test_fits_is_read_back_equal(small_run: SmallRun, tmp_path: Path) -> None:
    rows = exported(write_hostile(small_run, ASCII), tmp_path / "out.fits")
    table = Table.read(tmp_path / "out.fits")
    for name in TEXTS:
        assert cells(table, name) == rows[name].to_pylist(), name


def test_ecsv_is_a_csv_too(results: Path, tmp_path: Path) -> None:
    rows = exported(results, tmp_path / "out.ecsv")
    lines = (tmp_path / "out.ecsv").read_text().splitlines(keepends=True)
    body = "".join(line for line in lines if not line.startswith("# "))
    options = pyarrow.csv.ConvertOptions(column_types={name: pa.string() for name in TEXTS})
    table = pyarrow.csv.read_csv(io.BytesIO(body.encode()), convert_options=options)
    assert table["objectid"].to_pylist() == rows["objectid"].to_pylist()


def test_notebooks_show_them_as_text(results: Path) -> None:
    curves = read_lightcurves(results, view="all")
    shown = curves.to_pandas().tail(len(IDS))._repr_html_()
    shown += Table({"objectid": IDS})._repr_html_()
    for tag in ("<script", "<img", "<svg", "<iframe", "<style>body", "<body"):
        assert tag not in shown


def target_of(text: str, results: Path) -> tuple[Target, pa.Table]:
    ledger = pq.read_table(results / "ledger.parquet")
    rows = pq.read_table(results / "lightcurves" / f"{SHARD}.parquet")
    of_target = [table.filter(pa.compute.field("objectid") == text) for table in (ledger, rows)]
    return Target(text, 10.0, -5.0, SHARD, of_target[0]), of_target[1]


# The font of the figures has no sign for an explosion.
@pytest.mark.filterwarnings("ignore:Glyph:UserWarning")
def test_figures_and_pages(results: Path, tmp_path: Path) -> None:
    # The first target has all of them as its bands, the map has all of them as its targets.
    for text in (IDS[0], "$\\frac{$", "x" * 900, "\u202ecod.exe", "$$\\frac{1}{0}$$"):
        target, rows = target_of(text, results)
        plot_target(target, rows, [tmp_path / "curve.png", tmp_path / "curve.svg"])
        write_page(target, rows, tmp_path / "page.html")
        assert (tmp_path / "curve.png").stat().st_size < 2_000_000
    plot_state_map(ledger_path=results / "ledger.parquet", figure_paths=[tmp_path / "map.svg"])
    assert "<script" not in (tmp_path / "map.svg").read_text()
    assert not list(tmp_path.rglob("pwned"))


def test_a_page_keeps_ids_that_look_like_those_of_bokeh(results: Path, tmp_path: Path) -> None:
    text = "00000000-1111-2222-3333-444444444444"
    target, rows = target_of(text, results)
    write_page(target, rows, tmp_path / "page.html")
    packed = re.search(r'id="page">([^<]+)<', (tmp_path / "page.html").read_text())
    assert packed is not None
    page = gzip.decompress(base64.b64decode(packed[1])).decode()
    assert re.search(rf"h2 style='margin:0'(>|&gt;){text}(<|&lt;)/h2", page)
    # Title, head, band, object, field, exposure and legend.
    assert page.count(text) >= 7


def test_the_table_of_states_escapes_what_archives_say(results: Path, tmp_path: Path) -> None:
    page = tmp_path / "states.html"
    tabulate_states(
        ledger_path=results / "ledger.parquet",
        status_paths=sorted((results / "parts").rglob("*.status.json")),
        titles={"hcv": "H", "ztf": "Z"},
        page_path=page,
    )
    text = page.read_text()
    for tag in ("<script", "<img", "<svg", "<iframe", "<style>body"):
        assert tag not in text
    assert "&lt;script&gt;window.pwned=1&lt;/script&gt;" in text


def test_ids_in_adql_are_literals() -> None:
    for text in IDS:
        (statement,) = sqlglot.parse(f"SELECT a FROM t WHERE b IN ({_literal(text)})")
        assert statement is not None
        (found,) = statement.find_all(sqlglot.exp.Literal)
        # A backslash means nothing in ADQL.
        assert found.this == text, text


def test_ids_in_uploads_are_cells() -> None:
    document = upload_bytes(pa.table({"name": ASCII}), {})
    assert cells(votable.parse(io.BytesIO(document)).get_first_table().to_table(), "name") == ASCII


def test_messages_are_safe_to_print() -> None:
    for text in (*IDS, *REFUSED):
        for error in (LightloomError(text), ArchiveError(text), SampleError(f"x: {text}")):
            assert not OBEYED.search(str(error))
        assert not OBEYED.search(printable(text))
        if text.isprintable():
            assert printable(text) == text


def test_the_log_of_a_job_is_safe_to_print(tmp_path: Path) -> None:
    def job() -> None:
        with job_logging(str(tmp_path / "job.log"), attempt=1):
            for text in (*IDS, *REFUSED):
                logging.getLogger("lightloom").error("an archive says %s", text)
            raise ArchiveError("\x1b[31mred")

    with pytest.raises(SystemExit):
        job()
    log = (tmp_path / "job.log").read_bytes().decode()
    assert not OBEYED.search(log)
    assert "\\x1b[31mred" in log
