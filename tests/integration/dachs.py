"""A DaCHS server on this machine that serves tables of the embedded sky.

DaCHS runs as root from the system's own folders, so there can be one at a time. It is installed by
.ci/install-services; without it, or without root, what needs it is skipped.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
import requests

PORT = 18080
URL = f"http://127.0.0.1:{PORT}/tap"

_CLUSTER = ("15", "main")
_CONFIGURATION = Path("/etc/gavo.rc")
_INPUTS = Path("/var/gavo/inputs")
# Its limits of uploads are those that it has by default: 500 kB in a query, 20 MB in a job.
_SETTINGS = """[general]
maintainerAddress: invalid@example.com
[web]
serverURL: http://127.0.0.1:{port}
bindAddress: 127.0.0.1
serverPort: {port}
[async]
defaultExecTimeSync: 600
defaultMAXREC: {maxrec}
"""
_TYPES = {
    pa.float64(): "double precision",
    pa.float32(): "real",
    pa.int64(): "bigint",
    pa.int32(): "integer",
    pa.int16(): "smallint",
    pa.string(): "text",
}


def missing() -> str:
    """Say what is missing to run DaCHS here; empty if nothing is."""
    if shutil.which("dachs") is None:
        return "DaCHS is not installed (.ci/install-services installs it)"
    return "" if os.geteuid() == 0 else "DaCHS is started as root only"


@contextmanager
def serve(tables: dict[str, dict[str, Path]], maxrec: int = 5_000_000) -> Iterator[str]:
    """Import tables, serve them, and yield the URL of the TAP service.

    Parameters
    ----------
    tables : dict of str to dict of str to Path
        Parquet files by schema and table; the metadata of their fields has ``unit``, ``ucd`` and
        ``description``.
    maxrec : int, optional
        Rows of a reply, unless the client asks for another number.
    """
    offline = "online" not in _run("pg_lsclusters", "--no-header")
    if offline:
        _run("pg_ctlcluster", *_CLUSTER, "start")
    before = _CONFIGURATION.read_text() if _CONFIGURATION.exists() else None
    try:
        _wait_until(lambda: subprocess.call(["pg_isready", "-q"]) == 0)
        _CONFIGURATION.write_text(_SETTINGS.format(port=PORT, maxrec=maxrec))
        for schema, of_schema in tables.items():
            _import(schema, of_schema)
        _run("dachs", "serve", "start")
        _wait_until(_answers)
        yield URL
    finally:
        subprocess.call(["dachs", "serve", "stop"])
        if before is not None:
            _CONFIGURATION.write_text(before)
        else:
            _CONFIGURATION.unlink(missing_ok=True)
        if offline:
            _run("pg_ctlcluster", *_CLUSTER, "stop", "--mode", "fast")


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: exit code {done.returncode}\n{done.stderr}")
    return done.stdout


def _wait_until(is_ready) -> None:
    deadline = time.monotonic() + 60
    while not is_ready():
        if time.monotonic() > deadline:
            raise TimeoutError("a service did not start within 60 s")
        time.sleep(0.2)


def _answers() -> bool:
    try:
        return requests.get(f"{URL}/capabilities", timeout=5).ok
    except requests.ConnectionError:
        return False


def _import(schema: str, tables: dict[str, Path]) -> None:
    folder = _INPUTS / schema
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "data").mkdir(parents=True)
    described = []
    for name, path in tables.items():
        table = pq.read_table(path)
        table = _with_nulls(_with_bits(table))
        pyarrow.csv.write_csv(table, folder / "data" / f"{name}.csv")
        described.append(_described(name, table.schema))
    (folder / "q.rd").write_text(
        f'<resource schema="{schema}">\n'
        f'<meta name="title">{schema}</meta>\n<meta name="description">Tables for tests</meta>\n'
        '<meta name="creationDate">2026-01-01T00:00:00Z</meta>\n'
        '<meta name="subject">surveys</meta>\n'
        f"{''.join(described)}</resource>\n"
    )
    _run("dachs", "imp", f"{schema}/q")


def _with_bits(table: pa.Table) -> pa.Table:
    """Return the table with 0 and 1 as its truth values, as ADQL has none."""
    return table.cast(
        pa.schema(
            field.with_type(pa.int16()) if pa.types.is_boolean(field.type) else field
            for field in table.schema
        )
    )


def _with_nulls(table: pa.Table) -> pa.Table:
    """Return the table with null in place of NaN, which CSV does not know."""
    for position, field in enumerate(table.schema):
        if pa.types.is_floating(field.type):
            column = table.column(position)
            known = pc.if_else(pc.is_nan(column), pa.scalar(None, field.type), column)
            table = table.set_column(position, field, known)
    return table


def _described(name: str, schema: pa.Schema) -> str:
    """Return the table and its import, in the language of DaCHS."""
    columns = "".join(_column(field) for field in schema)
    positions = {"ra", "dec", "coord_ra", "coord_dec"} & set(schema.names)
    index = (
        f"<index columns={quoteattr(','.join(sorted(positions, reverse=True)))}/>"
        if positions
        else ""
    )
    return (
        f'<table id="{name}" onDisk="True" adql="True">{index}{columns}</table>\n'
        f'<data id="import_{name}"><sources pattern="data/{name}.csv"/><csvGrammar/>'
        f'<make table="{name}"><rowmaker idmaps="*"/></make></data>\n'
    )


def _column(field: pa.Field) -> str:
    metadata = {key.decode(): text.decode() for key, text in (field.metadata or {}).items()}
    described = " ".join(
        f"{key}={quoteattr(escape(metadata[key]))}"
        for key in ("unit", "ucd", "description")
        if metadata.get(key)
    )
    # A column of integers has to say what stands for null.
    lowest = (
        -(2 ** (min(field.type.bit_width, 32) - 1)) if pa.types.is_integer(field.type) else None
    )
    null = "" if lowest is None else f'<values nullLiteral="{lowest}"/>'
    return f'<column name="{field.name}" type="{_TYPES[field.type]}" {described}>{null}</column>\n'
