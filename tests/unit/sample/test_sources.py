"""Sources other than one local table: remote tables, inboxes, published samples, and cuts."""

import http.server
import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from mocpy import MOC
from written_tables import error_lines, table

from lightloom.config import SampleConfig
from lightloom.config_sources import LiteratureSource, TableSource
from lightloom.errors import SampleError
from lightloom.sample.frozen import FrozenAnswers
from lightloom.sample.literature import FROZEN
from lightloom.sample.read import Sample, read_sample
from lightloom.sample.sources import FoundTables, find_tables, set_aside

COPIES = Path("copies")


#: No service is asked here.
ANSWERS = FrozenAnswers(Path("frozen"), {}, (), Path("state"), Path("logs"))


def _find(*sources: TableSource | LiteratureSource) -> FoundTables:
    return find_tables(SampleConfig(sources, 1.0, "stop"), COPIES, ANSWERS)


def _read(found: FoundTables) -> Sample:
    return read_sample(found.sources, files=found.files)


class _Handler(http.server.SimpleHTTPRequestHandler):
    asked: list[str]
    cut_bytes = 0

    def log_message(self, *_: object) -> None:
        """Write nothing."""

    def do_GET(self) -> None:
        self.asked.append("GET")
        super().do_GET()

    def do_HEAD(self) -> None:
        self.asked.append("HEAD")
        super().do_HEAD()

    def copyfile(self, source, outputfile) -> None:
        content = source.read()
        outputfile.write(content[: len(content) - self.cut_bytes])


@pytest.fixture
def server() -> Iterator[tuple[str, type[_Handler]]]:
    """A server of the test's folder, and the requests that came."""
    handler = type("Handler", (_Handler,), {"asked": []})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{httpd.server_address[1]}", handler
        finally:
            httpd.shutdown()
            thread.join()


def test_a_remote_table_is_fetched_once_per_change(server: tuple[str, type[_Handler]]) -> None:
    address, handler = server
    source = replace(table("id,ra,dec\nA,1,2\n", id="id"), path=f"{address}/t.csv")
    found = _find(source)
    assert _read(found).targets["objectid"].to_pylist() == ["A"]
    assert handler.asked == ["HEAD", "GET"]
    assert _find(source).states == found.states
    assert handler.asked == ["HEAD", "GET", "HEAD"]
    # Another time of the same content is another version, and no other table.
    os.utime("t.csv", (1, 1))
    assert _find(source).states == found.states
    assert handler.asked[3:] == ["HEAD", "GET"]
    Path("t.csv").write_text("id,ra,dec\nA,1,2\nB,3,4\n")
    assert _find(source).states != found.states
    assert _read(_find(source)).targets.num_rows == 2


def test_an_unreachable_table_has_a_copy_or_is_an_error(
    server: tuple[str, type[_Handler]], caplog: pytest.LogCaptureFixture
) -> None:
    address, handler = server
    source = replace(table("id,ra,dec\nA,1,2\n", id="id"), path=f"{address}/t.csv")
    known = _find(source)
    gone = replace(source, path="http://127.0.0.1:9/t.csv")
    with pytest.raises(SampleError, match=r"127\.0\.0\.1:9/t\.csv: .*and there is no copy"):
        _find(gone)
    with pytest.raises(SampleError, match=r"other\.csv: .*absent; .*there is no copy"):
        _find(replace(source, path=f"{address}/other.csv"))
    # The server cuts its answer: what was there before is still good.
    Path("t.csv").write_text("id,ra,dec\nA,1,2\nB,3,4\n")
    handler.cut_bytes = 5
    assert _find(source).states == known.states
    assert "the copy that was fetched before is used" in caplog.text


def test_messages_name_the_address(server: tuple[str, type[_Handler]]) -> None:
    address, _ = server
    source = replace(table("id,ra,dec\nA,1,x\n", id="id"), path=f"{address}/t.csv")
    with pytest.raises(SampleError, match=rf"{address}/t\.csv, row 2, column 'dec': found 'x'"):
        _read(_find(source))


@pytest.fixture
def inbox() -> TableSource:
    """A folder with two good tables, the second one with another target."""
    Path("inbox").mkdir()
    for number, name in enumerate("AB"):
        Path(f"inbox/{name}.csv").write_text(f"id,ra,dec\n{name},{10 + number},20\n")
        os.utime(f"inbox/{name}.csv", (1000 + number, 1000 + number))
    return TableSource("inbox", "inbox", "ra", "dec", id="id")


def test_each_table_of_an_inbox_adds_its_targets(inbox: TableSource) -> None:
    for name in (".hidden.csv", "c.csv.part"):
        Path("inbox", name).write_text("not a table")
    Path("inbox/failed").mkdir()
    found = _find(inbox)
    assert [source.path for source in found.sources] == ["inbox/A.csv", "inbox/B.csv"]
    sample = _read(found)
    assert sample.targets["objectid"].to_pylist() == ["A", "B"]
    assert sample.wrong_arrivals == {}
    with pytest.raises(SampleError, match="nowhere: no such folder, expected an inbox"):
        _find(replace(inbox, path="nowhere"))


def test_wrong_tables_of_an_inbox_are_set_aside(inbox: TableSource) -> None:
    Path("inbox/bad row.csv").write_text("id,ra,dec\nC,1,2\nD,x,2\n")
    Path("inbox/cut.fits").write_bytes(b"SIMPLE")
    Path("inbox/notes.txt").write_text("hello")
    # The same id at another place; it came later than the good ones.
    Path("inbox/moved.csv").write_text("id,ra,dec\nE,5,5\nA,50,60\n")
    sample = _read(_find(inbox))
    assert sample.targets["objectid"].to_pylist() == ["A", "B"]
    assert set(sample.wrong_arrivals) == {
        f"inbox/{name}" for name in ("bad row.csv", "cut.fits", "notes.txt", "moved.csv")
    }
    set_aside(sample.wrong_arrivals)
    assert sorted(path.name for path in Path("inbox").iterdir()) == ["A.csv", "B.csv", "failed"]
    error = Path("inbox/failed/bad row.csv.error.txt").read_text()
    assert "inbox/bad row.csv, row 3, column 'ra': found 'x'" in error
    error = Path("inbox/failed/moved.csv.error.txt").read_text()
    assert "row 3, column 'id': found 'A', also in inbox/A.csv, row 2" in error
    assert _read(_find(inbox)).wrong_arrivals == {}


def test_names_of_failed_tables_do_not_collide(inbox: TableSource) -> None:
    for text in ("first", "second"):
        Path("inbox/bad.csv").write_text(text)
        set_aside(_read(_find(inbox)).wrong_arrivals)
    contents = {path.name: path.read_text() for path in Path("inbox/failed").glob("*.csv")}
    assert contents == {"bad.csv": "first", "bad-2.csv": "second"}


def test_an_inbox_may_be_empty_beside_other_sources(inbox: TableSource) -> None:
    Path("empty").mkdir()
    empty = replace(inbox, path="empty")
    assert _read(_find(inbox, empty)).targets.num_rows == 2
    with pytest.raises(SampleError, match="found no target, expected at least one"):
        _read(_find(empty))


def test_frozen_samples() -> None:
    for name in ("yang2018", "2018ApJ...862..109Y"):
        found = _find(LiteratureSource("literature", name))
        sample = _read(found)
        assert sample.targets.num_rows == 30
        assert sum(map(len, sample.targets["source_rows"].to_pylist())) == 31
        assert sample.targets["labels"][0].as_py() == ["Yang et al. 2018"]
        assert [source.path for source in found.sources] == ["literature:yang2018"]


def test_the_list_of_published_samples() -> None:
    known = yaml.safe_load((FROZEN / "literature.yaml").read_text())
    assert len(known) >= 12
    for name, entry in known.items():
        assert {"title", "bibcode", "service"} <= entry.keys() <= {
            "title", "bibcode", "service", "catalogue", "where", "rows", "origin", "retrieved",
        }  # fmt: skip
        # What is frozen says whence and when it came, in the list or beside the table.
        if (FROZEN / f"{name}.csv").exists() and not (FROZEN / f"{name}.json").exists():
            assert {"origin", "retrieved"} <= entry.keys()


def _many(**options: object) -> TableSource:
    rows = [f"T{n},{n * 0.9},{(n * 37) % 170 - 85}\n" for n in range(400)]
    order = np.random.default_rng(1).permutation(400) if options.pop("shuffled", False) else None
    chosen = rows if order is None else [rows[i] for i in order]
    return table("id,ra,dec\n" + "".join(chosen), id="id", unit="deg", **options)


def _ids(source: TableSource) -> set[str]:
    return set(read_sample([source]).targets["objectid"].to_pylist())


def test_cone_and_coverage_keep_the_same_targets() -> None:
    circle = {"ra_deg": 90.0, "dec_deg": 10.0, "radius_deg": 30.0}
    in_cone = _ids(_many(cone=circle))
    assert 10 < len(in_cone) < 100
    moc = MOC.from_string("0/0-11")
    moc.save("all.fits", "fits")
    assert _ids(_many(moc="all.fits")) == _ids(_many())
    Path("half.txt").write_text("0/0-3")
    north = _ids(_many(moc="half.txt"))
    assert 0 < len(north) < 400
    assert _ids(_many(moc="half.txt", cone=circle)) == north & in_cone


def test_a_number_of_targets_does_not_depend_on_their_order() -> None:
    few = _ids(_many(max_targets=50))
    assert len(few) == 50
    assert _ids(_many(max_targets=50, shuffled=True)) == few
    assert _ids(_many(max_targets=60)) > few
    assert _ids(_many(max_targets=1000)) == _ids(_many())
    # Another row takes the place of one at most.
    Path("t.csv").write_text(Path("t.csv").read_text() + "new,1,1\n")
    grown = TableSource("table", "t.csv", "ra", "dec", id="id", unit="deg", max_targets=50)
    assert len(_ids(grown) & few) >= 49


def test_wrong_cuts() -> None:
    assert error_lines(_many(moc="nowhere.fits")) == [
        "nowhere.fits: no such file, expected a multi-order coverage (MOC)"
    ]
    Path("bad.fits").write_text("no MOC")
    (line,) = error_lines(_many(moc="bad.fits"))
    assert line.startswith("bad.fits: found no multi-order coverage (MOC) in fits (")
    nowhere = {"ra_deg": 0.3, "dec_deg": 0.0, "radius_deg": 0.001}
    lines = error_lines(_many(cone=nowhere))
    assert lines == [
        "found no target, expected at least one in the sources together",
        "t.csv: none of 400 good rows lies in the cone and moc",
    ]


@pytest.mark.parametrize(
    ("top", "words"), [(24.0, "hours, set unit: hourangle"), (6.2, "radians, set unit: rad")]
)
def test_many_values_of_another_unit_by_their_range(top: float, words: str) -> None:
    text = "ra,dec\n" + "".join(f"{ra},{ra / 10 - 1}\n" for ra in np.linspace(0, top, 50))
    (line,) = error_lines(table(text))
    assert words in line
    assert line.endswith("if they are degrees, say so with unit: deg")
    assert read_sample([table(text, unit="deg")]).targets.num_rows == 50
