"""The Parquet tables of one service as a DuckDB database that is asked in ADQL."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from laboratory.adql import DISTANCE_MACRO, UPLOAD_SCHEMA, Relation, translate
from laboratory.damage import Reply
from laboratory.exchange import RequestProblemError

#: DuckDB works in memory only, and never looks for extensions in the network.
SETTINGS: dict[str, str | bool | int | float | list[str]] = {
    "memory_limit": "1GB",
    "threads": 2,
    "temp_directory": "",
    "autoinstall_known_extensions": False,
}

#: VOTable types of the Arrow types that the tables have.
VOTABLE_TYPES = {
    pa.bool_(): "boolean",
    pa.uint8(): "unsignedByte",
    pa.int16(): "short",
    pa.int32(): "int",
    pa.int64(): "long",
    pa.float32(): "float",
    pa.float64(): "double",
}


class Database:
    """Tables of one service.

    Parameters
    ----------
    folder : Path
        Holds ``<table>.parquet`` and ``<schema>.<table>.parquet``.
    default_schema : str
        Schema of the tables whose file name has none.
    """

    def __init__(self, folder: Path, default_schema: str) -> None:
        self.tables: dict[str, pa.Schema] = {}
        self._relations: dict[str, Relation] = {}
        self._connection = duckdb.connect(config=SETTINGS)
        self._connection.execute(DISTANCE_MACRO)
        self._connection.execute(f"CREATE SCHEMA {UPLOAD_SCHEMA}")
        for path in sorted(folder.glob("*.parquet")):
            schema, _, table = path.stem.rpartition(".")
            self._add(schema or default_schema, table, pq.read_schema(path))
            self._connection.execute(
                f"""CREATE VIEW "{schema or default_schema}"."{table}" AS """
                f"SELECT * FROM read_parquet('{path}')"
            )
        for name, table in _tap_schema(self.tables).items():
            self._add("tap_schema", name, table.schema)
            self._connection.register("described", table)
            self._connection.execute(f'CREATE TABLE tap_schema."{name}" AS FROM described')
            self._connection.unregister("described")

    def query(
        self, adql: str, uploads: Mapping[str, pa.Table], maxrec: int, running: "Running"
    ) -> Reply:
        """Answer a query.

        Parameters
        ----------
        adql : str
            The query.
        uploads : mapping of str to pyarrow.Table
            By their name in the schema TAP_UPLOAD.
        maxrec : int
            Largest number of rows to return.
        running : Running
            Lets another thread interrupt the query.

        Raises
        ------
        RequestProblemError
            The query is wrong; the message names the table or column.
        """
        relations = dict(self._relations)
        names = {name: f"upload_{number}" for number, name in enumerate(sorted(uploads))}
        for name, registered in names.items():
            # What is registered with one connection lives in its temporary schema.
            relation = Relation("temp", registered, uploads[name].schema)
            relations[f"{UPLOAD_SCHEMA}.{name.lower()}"] = relation
        # One row more than may be sent tells an overflow.
        translation = translate(adql, relations, max_rows=maxrec + 1)
        cursor = self._connection.cursor()
        try:
            for name, registered in names.items():
                cursor.register(registered, uploads[name])
            with running.of(cursor):
                table = cursor.sql(translation.sql).to_arrow_table()
        except duckdb.Error as error:
            raise RequestProblemError(f"the query failed: {error}") from error
        finally:
            cursor.close()
        table = _described(table, translation.fields)
        return Reply(table.slice(0, maxrec), overflow=table.num_rows > maxrec)

    def _add(self, schema: str, table: str, fields: pa.Schema) -> None:
        self._connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{schema}"')
        self.tables[f"{schema}.{table}"] = fields
        relation = Relation(schema, table, fields)
        self._relations[f"{schema}.{table}".lower()] = relation
        self._relations.setdefault(table.lower(), relation)


class Running:
    """The query of a job, so that it can be interrupted from another thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cursor: duckdb.DuckDBPyConnection | None = None

    @contextmanager
    def of(self, cursor: duckdb.DuckDBPyConnection) -> Iterator[None]:
        """Note the connection that works for as long as the block runs."""
        with self._lock:
            self._cursor = cursor
        try:
            yield
        finally:
            with self._lock:
                self._cursor = None

    def interrupt(self) -> None:
        """End the query if it still runs."""
        with self._lock:
            if self._cursor is not None:
                self._cursor.interrupt()


def _described(table: pa.Table, sources: list[pa.Field | None]) -> pa.Table:
    """Give columns the unit and description of those they come from, and plain types."""
    fields = []
    columns = []
    if len(sources) != table.num_columns:
        sources = [None] * table.num_columns
    names = _distinct(table.column_names)
    for name, column, source in zip(names, table.columns, sources, strict=True):
        if column.type not in VOTABLE_TYPES:
            column = column.cast(_plain(column.type))
        metadata = source.metadata if source is not None else None
        fields.append(pa.field(name, column.type, metadata=metadata))
        columns.append(column)
    return pa.table(columns, schema=pa.schema(fields))


def _distinct(names: list[str]) -> list[str]:
    """Number repeated names, which a VOTable must not have."""
    found: list[str] = []
    for name in names:
        candidate, number = name, 1
        while candidate in found:
            candidate, number = f"{name}_{number}", number + 1
        found.append(candidate)
    return found


def _plain(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_decimal(kind):
        return pa.float64()
    if pa.types.is_integer(kind):
        return pa.int64()
    return pa.string()


def _tap_schema(tables: Mapping[str, pa.Schema]) -> dict[str, pa.Table]:
    """Describe tables as TAP_SCHEMA does (TAP 1.1, section 4)."""
    schemas = sorted({name.split(".")[0] for name in tables})
    columns = [
        {
            "table_name": name,
            "column_name": field.name,
            "datatype": VOTABLE_TYPES.get(field.type, "char"),
            "arraysize": None if field.type in VOTABLE_TYPES else "*",
            "xtype": None,
            "size": None,
            "description": metadata_of(field, "description"),
            "utype": None,
            "unit": metadata_of(field, "unit"),
            "ucd": metadata_of(field, "ucd"),
            "indexed": 0,
            "principal": 1,
            "std": 0,
            "column_index": index,
        }
        for name, fields in tables.items()
        for index, field in enumerate(fields)
    ]
    text = pa.string()
    return {
        "schemas": pa.Table.from_pylist(
            [{"schema_name": name} for name in schemas],
            pa.schema({"schema_name": text, "description": text, "utype": text}),
        ),
        "tables": pa.Table.from_pylist(
            [
                {"schema_name": name.split(".")[0], "table_name": name, "table_type": "table"}
                for name in tables
            ],
            pa.schema(
                {
                    "schema_name": text,
                    "table_name": text,
                    "table_type": text,
                    "description": text,
                    "utype": text,
                    "table_index": pa.int32(),
                }
            ),
        ),
        "columns": pa.Table.from_pylist(
            columns,
            pa.schema(
                [
                    (name, pa.int32() if name in NUMBERS_OF_COLUMNS else text)
                    for name in (columns[0] if columns else {})
                ]
            ),
        ),
        "keys": pa.schema(
            [(n, text) for n in ("key_id", "from_table", "target_table", "description", "utype")]
        ).empty_table(),
        "key_columns": pa.schema(
            [(name, text) for name in ("key_id", "from_column", "target_column")]
        ).empty_table(),
    }


#: Columns of TAP_SCHEMA.columns that are numbers.
NUMBERS_OF_COLUMNS = frozenset({"size", "indexed", "principal", "std", "column_index"})


def metadata_of(field: pa.Field, key: str) -> str:
    """Return an entry of a field's metadata, empty where it has none."""
    return (field.metadata or {}).get(key.encode(), b"").decode()
