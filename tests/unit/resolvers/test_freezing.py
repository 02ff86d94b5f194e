"""Answers are asked for once: what is frozen needs no service, whatever befalls the services."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from listed_targets import LIMITS
from typer.testing import CliRunner

from laboratory import Laboratory
from lightloom.cli import app
from lightloom.config import LocalService, SampleConfig
from lightloom.config_schema import SCHEMAS
from lightloom.config_sources import LiteratureSource, ResolverSpec
from lightloom.errors import ConfigError, SampleError
from lightloom.sample.frozen import FrozenAnswers
from lightloom.sample.literature import published
from lightloom.sample.sources import FoundTables, queries
from lightloom.sky.services.registries import ztf_id

Find = Callable[..., FoundTables]

NED = {"kind": "literature", "name": "lyu2022"}
SOURCES: dict[str, dict[str, Any]] = {
    "ned": NED,
    "simbad": {"kind": "literature", "name": "lopeznavas2022"},
    "vizier": {"kind": "literature", "name": "green2022"},
    "sdss": {"kind": "sdss_quasars", "number": 10},
    # Sesame is asked as SIMBAD knows no such name.
    "sesame": {"kind": "names", "entries": ["t4"]},
    "alerce": {"kind": "ztf_ids", "entries": [ztf_id(4)]},
}
#: What may befall a service, and pass.
PASSING: list[dict[str, Any]] = [
    {"action": "timeout"},
    {"action": "reset"},
    {"action": "status", "status": 503},
    {"action": "status", "status": 429, "retry_after_s": 0.1},
    {"action": "cut", "fraction": 0.5},
    {"action": "html"},
]


@pytest.fixture
def limits() -> dict[str, Any]:
    return LIMITS | {"timeout_s": 1.0, "attempts": 7}


@pytest.mark.parametrize("service", SOURCES)
def test_what_passes_is_tried_again(service: str, find: Find, laboratory: Laboratory) -> None:
    # Each of them befalls one request.
    rules = [{"service": service, "nth": n, **fault} for n, fault in enumerate(PASSING, start=1)]
    laboratory.faults(rules)
    found = find(SOURCES[service])
    assert len(found.files[found.sources[0].path].read_text().splitlines()) > 1
    assert [rule["applied"] for rule in laboratory.fault_report()] == [1] * len(PASSING)


@pytest.mark.parametrize("service", SOURCES)
def test_an_empty_reply_is_no_answer(service: str, find: Find, laboratory: Laboratory) -> None:
    laboratory.faults([{"service": service, "action": "overflow", "fraction": 0.0}])
    with pytest.raises(SampleError, match=SOURCES[service]["kind"]):
        find(SOURCES[service])
    assert list(Path("frozen").glob("*")) == []


def test_services_that_are_down_are_named(
    find: Find, laboratory: Laboratory, limits: dict[str, Any]
) -> None:
    limits["attempts"] = 2
    laboratory.faults([{"action": "out_of_service"}])
    with pytest.raises(SampleError) as caught:
        find(*SOURCES.values())
    lines = str(caught.value).split("\n")
    assert len(lines) == len(SOURCES)
    for line, (name, source) in zip(lines, SOURCES.items(), strict=True):
        assert line.startswith(source["kind"])
        # Names are asked of SIMBAD first.
        assert laboratory.url("simbad" if name == "sesame" else name) in line
        assert "HTTP 503" in line
        assert "start again when it answers" in line
    assert "write its table to config/samples/lyu2022.csv" in lines[0]


def test_what_is_frozen_needs_no_service(find: Find, laboratory: Laboratory) -> None:
    first = find(*SOURCES.values())
    contents = {path: path.read_bytes() for path in Path("frozen").iterdir()}
    assert len(contents) == 2 * len(SOURCES)
    laboratory.clear_log()
    laboratory.faults([{"action": "out_of_service"}])
    assert find(*SOURCES.values()) == first
    # Other cuts and labels read the same answer otherwise; a new source is still asked for.
    find({**NED, "label": "other", "max_targets": 2})
    assert laboratory.log() == []
    with pytest.raises(SampleError, match="literature:hon2022"):
        find(NED, {"kind": "literature", "name": "hon2022"})
    assert {path: path.read_bytes() for path in Path("frozen").iterdir()} == contents


def test_the_record_says_whence_and_when(find: Find, laboratory: Laboratory) -> None:
    found = find(NED)
    (path,) = Path("frozen").glob("*.json")
    record = json.loads(path.read_text())
    assert record["services"] == ["ned"]
    assert record["query"]["endpoints"] == [laboratory.url("ned")]
    assert (record["query"]["name"], record["rows"]) == ("2022ApJ...927..227L", 12)
    assert record["retrieved"].endswith("+00:00")
    assert list(found.states.values()) == [record["sha256"]]


def test_an_answer_that_was_changed_is_refused(find: Find) -> None:
    find(NED)
    (table,) = Path("frozen").glob("*.csv")
    table.write_text(table.read_text().replace("first", "other"))
    with pytest.raises(SampleError, match=r"frozen/.*\.csv: found .*lightloom freeze --refresh"):
        find(NED)
    table.unlink()
    with pytest.raises(SampleError, match="found no file, expected the SHA-256 digest"):
        find(NED)


def test_a_refresh_asks_again_and_may_fail(
    answers: FrozenAnswers, find: Find, laboratory: Laboratory, limits: dict[str, Any]
) -> None:
    sample = SampleConfig((LiteratureSource(**NED),), 1.0, "stop")
    asked = queries(sample, answers.resolvers)
    before = find(NED)
    laboratory.faults([{"service": "ned", "action": "missing_target", "target": ["T 3"]}])
    assert answers.ensure(asked) == {}
    assert find(NED) == before
    assert answers.ensure(asked, refresh=True) == {}
    after = find(NED)
    assert after.states != before.states
    assert after.sources == before.sources
    # A failed refresh leaves what was there.
    limits["attempts"] = 1
    laboratory.faults([{"action": "out_of_service"}])
    assert len(answers.ensure(asked, refresh=True)) == 1
    assert find(NED) == after


@pytest.fixture
def project(laboratory: Laboratory, limits: dict[str, Any]) -> Path:
    """A project with the services of the laboratory and nothing but its configuration."""
    for name in ("config.yaml", "archives.yaml", "sky/embedded.yaml", "samples/literature.yaml"):
        place = Path("config", name)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text((SCHEMAS.parent / name).read_text(encoding="utf-8"), encoding="utf-8")
    places = {name: laboratory.url(name) for name in ("alerce", "ned", "sdss", "sesame", "vizier")}
    places |= {"simbad": laboratory.url("simbad") + "/tap"}
    mine = {
        "sample": {"sources": [SOURCES["ned"], SOURCES["sesame"]]},
        "resolvers": places | {"limits": limits},
        "services": {"sky": {"enabled": False}},
    }
    Path("mine.yaml").write_text(yaml.safe_dump(mine))
    return Path()


def command(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["freeze", *words, "--configfile", "mine.yaml"])
    if isinstance(result.exception, SampleError):
        return 1, str(result.exception)
    return result.exit_code, result.output


def test_command_freezes_the_sources_of_a_run(project: Path, laboratory: Laboratory) -> None:
    code, output = command()
    assert code == 0, output
    lines = output.splitlines()
    assert lines[0].startswith("literature:lyu2022: 12 targets, asked on 2")
    assert lines[1].startswith("names: 1 targets, asked on 2")
    laboratory.clear_log()
    assert command() == (0, output)
    assert laboratory.log() == []
    assert command("--refresh")[0] == 0
    assert {record["service"] for record in laboratory.log()} == {"ned", "simbad", "sesame"}


def test_command_freezes_a_published_sample(project: Path, laboratory: Laboratory) -> None:
    code, output = command("lopeznavas2022", "2022MNRAS.511...54H")
    assert code == 0, output
    for name, n_rows in (("lopeznavas2022", 4), ("hon2022", 2)):
        header, *rows = Path(f"config/samples/{name}.csv").read_text().splitlines()
        assert header.replace('"', "") == "name,ra,dec"
        assert len(rows) == n_rows
        assert json.loads(Path(f"config/samples/{name}.json").read_text())["rows"] == n_rows
    assert "is there already" in command("hon2022")[1]
    laboratory.faults([{"action": "html"}])
    code, output = command("hon2022", "--refresh")
    assert code == 1
    assert "found an HTML page" in output
    assert Path("config/samples/hon2022.csv").read_text().count("\n") == 3


def test_local_services_run_while_they_are_asked(
    answers: FrozenAnswers, laboratory: Laboratory, tmp_path: Path
) -> None:
    """Each service on a port of this machine is started if it is needed, and ended afterwards."""
    port = int(laboratory.base.rpartition(":")[2])
    # A tunnel to the laboratory, in this many lines.
    (tmp_path / "tunnel.py").write_text(
        "import http.server, sys, urllib.request\n"
        "class Tunnel(http.server.BaseHTTPRequestHandler):\n"
        "    def do_GET(self):\n"
        f"        with urllib.request.urlopen('http://127.0.0.1:{port}' + self.path) as reply:\n"
        "            body = reply.read()\n"
        "        self.send_response(200)\n"
        "        self.send_header('Content-Length', str(len(body)))\n"
        "        self.end_headers()\n"
        "        self.wfile.write(body)\n"
        "http.server.HTTPServer(('127.0.0.1', int(sys.argv[1])), Tunnel).serve_forever()\n"
    )
    here = _free_port()
    environment = {"PYTHONPATH": str(tmp_path)}
    tunnel = LocalService("tunnel", f"python -m tunnel {here}", here, environment, ("ned",))
    broken = LocalService("broken", "python -c 'raise SystemExit(3)'", here, {}, ("vizier",))
    spec = ResolverSpec("ned", f"http://127.0.0.1:{here}/ned", answers.resolvers["ned"].limits)
    through = replace(
        answers, resolvers={**answers.resolvers, "ned": spec}, services=(tunnel, broken)
    )

    def query(name: str):
        return published(LiteratureSource("literature", name)).query(through.resolvers)

    assert through.ensure([query("lyu2022")]) == {}
    # It has ended: its port is free, and it is started again for another question.
    assert through.ensure([query("hon2022")]) == {}
    assert _is_free(here)
    with pytest.raises(ConfigError, match=r"services\.broken: found exit code 3"):
        through.ensure([query("green2022")])
    # Nothing is started for what is frozen.
    assert replace(through, services=(broken,)).ensure([query("lyu2022")]) == {}


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def test_a_start_with_frozen_answers_imports_no_client(find: Find, answers: FrozenAnswers) -> None:
    find(NED)
    code = (
        "import sys; from pathlib import Path\n"
        "from lightloom.config_sources import LiteratureSource, ResolverSpec\n"
        "from lightloom.config import SampleConfig\n"
        "from lightloom.sample.frozen import FrozenAnswers\n"
        "from lightloom.sample.sources import find_tables\n"
        f"specs = {{'ned': ResolverSpec('ned', {answers.resolvers['ned'].endpoint!r}, {{}})}}\n"
        "answers = FrozenAnswers(Path('frozen'), specs, (), Path('state'), Path('logs'))\n"
        "source = LiteratureSource('literature', 'lyu2022')\n"
        "assert find_tables(SampleConfig((source,), 1.0, 'stop'), Path('c'), answers).sources\n"
        "heavy = {'numpy', 'pyarrow', 'astropy', 'astroquery', 'pyvo', 'requests'}\n"
        "assert not heavy & sys.modules.keys(), heavy & sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ)
