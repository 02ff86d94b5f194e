"""A service that knows when targets were seen: GET search?objectids=a,b gives {"a": [mjd]}."""

import numpy as np
import pyarrow as pa

from lightloom.archives.base import SOURCES, Answer, Archive, Request, RequestPlan
from lightloom.errors import ArchiveSchemaError, TruncatedAnswerError
from lightloom.schema import TARGET_ROWS
from lightloom.services.http import service_session


class Counter(Archive):
    """Asks for ``targets_per_query`` targets at a time."""

    def probe(self) -> None:
        with service_session(self.spec, self.state) as session:
            columns = session.get(f"{self.spec.endpoint}/columns").json()
        if "mjd" not in columns:
            raise ArchiveSchemaError(f"column 'mjd': not found, found {columns}")

    def plan(self, shard: pa.Table) -> RequestPlan:
        size = self.spec.limits["targets_per_query"]
        targets = np.arange(shard.num_rows)
        chunks = [targets[first : first + size] for first in range(0, shard.num_rows, size)]
        return RequestPlan([Request(chunk, None) for chunk in chunks], np.array([], np.int64))

    def answer(self, shard: pa.Table, request: Request) -> Answer:
        objectids = shard["objectid"].take(pa.array(request.targets)).to_pylist()
        with service_session(self.spec, self.state) as session:
            asked = {"objectids": ",".join(objectids)}
            found = session.get(f"{self.spec.endpoint}/search", params=asked).json()
        if len(found) < len(objectids):
            raise TruncatedAnswerError(f"{len(found)} of {len(objectids)} targets answered")
        rows = [
            {
                "target": int(target),
                "band": "r",
                "time_mjd": float(mjd),
                "time_scale": "utc",
                "time_ref": "geocentre",
                "native_unit": "mag",
                "quality": 0,
                "kind": "detection",
                "survey_object_id": objectid,
            }
            for target, objectid in zip(request.targets, objectids, strict=True)
            for mjd in found[objectid]
        ]
        names = TARGET_ROWS.names
        table = pa.Table.from_pylist(
            [{name: row.get(name) for name in names} for row in rows], TARGET_ROWS
        )
        sources = [
            {"target": int(target), "survey_object_id": objectid, "match_arcsec": 0.1}
            for target, objectid in zip(request.targets, objectids, strict=True)
            if found[objectid]
        ]
        return Answer(table, pa.Table.from_pylist(sources, SOURCES), session.reads, "search")

    def competing_sources(self, rows: pa.Table) -> pa.Table:
        return pa.table(
            {
                "target": rows["target"],
                "observation": rows["band"],
                "survey_object_id": rows["survey_object_id"],
            }
        )


ARCHIVE = Counter
