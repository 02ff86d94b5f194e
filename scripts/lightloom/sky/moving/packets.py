"""Alerts as packets: Avro files with the parts of ZTF's alert schema that the alerts have."""

from pathlib import Path
from typing import Any

import fastavro
import pandas as pd
import pyarrow as pa
from astropy.time import Time

from lightloom.sky.moving.alerts import SCHEMA

_KINDS = {pa.string(): "string", pa.int32(): "int", pa.int64(): "long"} | {
    pa.float32(): "float",
    pa.float64(): "double",
}
_ALWAYS = {"candid", "jd", "fid", "pid", "programid", "isdiffpos", "ra", "dec"} | {
    "magpsf",
    "sigmapsf",
    "ndethist",
}


def _candidate_fields() -> list[dict[str, Any]]:
    fields: list[dict[str, Any]] = []
    for field in SCHEMA:
        if field.name in ("_healpix_29", "objectId"):
            continue
        kind = _KINDS[field.type]
        if field.name in _ALWAYS:
            fields.append({"name": field.name, "type": kind})
        else:
            fields.append({"name": field.name, "type": [kind, "null"]})
    return fields


PACKET_SCHEMA = fastavro.parse_schema(
    {
        "type": "record",
        "name": "ztf.alert",
        "version": "3.3",
        "fields": [
            {"name": "schemavsn", "type": "string"},
            {"name": "publisher", "type": "string"},
            {"name": "objectId", "type": "string"},
            {"name": "candid", "type": "long"},
            {
                "name": "candidate",
                "type": {
                    "type": "record",
                    "name": "ztf.alert.candidate",
                    "fields": _candidate_fields(),
                },
            },
            {
                "name": "prv_candidates",
                "type": [{"type": "array", "items": "ztf.alert.candidate"}, "null"],
                "default": None,
            },
        ],
    }
)


def packet(alert: dict[str, Any]) -> dict[str, Any]:
    """Return the packet of an alert.

    Parameters
    ----------
    alert : dict
        A row with the columns of `lightloom.sky.moving.alerts.SCHEMA`.
    """
    candidate = {name: alert[name] for name in SCHEMA.names if name not in _OF_THE_PACKET}
    return {
        "schemavsn": "3.3",
        "publisher": "embedded sky",
        "objectId": alert["objectId"],
        "candid": alert["candid"],
        "candidate": candidate,
        "prv_candidates": None,
    }


_OF_THE_PACKET = ("_healpix_29", "objectId")


def write_packets(folder: Path, alerts: pd.DataFrame) -> None:
    """Write each alert as ``<folder>/<date of the night>/<candid>.avro``."""
    for alert in pa.Table.from_pandas(alerts, SCHEMA, preserve_index=False).to_pylist():
        night = Time(alert["jd"], format="jd").strftime("%Y%m%d")
        path = folder / night / f"{alert['candid']}.avro"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            # The marker between blocks is random unless it is given.
            marker = int(alert["candid"]).to_bytes(16, "big")
            fastavro.writer(file, PACKET_SCHEMA, [packet(alert)], sync_marker=marker)
