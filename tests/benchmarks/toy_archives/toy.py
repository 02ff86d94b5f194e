"""An archive that sleeps and computes for each target, and has ten rows of it.

``options.sleep_ms`` is what waiting for an archive costs, ``options.matrix`` the order of a system
of linear equations that is solved, as work of the processor.
"""

import time

import numpy as np
import pyarrow as pa

from lightloom.archives.base import SOURCES, Answer, Archive, Request, RequestPlan
from lightloom.archives.measurements import light_curve_rows

_ROWS = 10


class Toy(Archive):
    """Takes ``targets_per_query`` targets at a time, one after the other."""

    def plan(self, shard: pa.Table) -> RequestPlan:
        size = self.spec.limits["targets_per_query"]
        targets = np.arange(shard.num_rows)
        chunks = [targets[first : first + size] for first in range(0, shard.num_rows, size)]
        return RequestPlan([Request(chunk, None) for chunk in chunks], np.array([], np.int64))

    def answer(self, shard: pa.Table, request: Request) -> Answer:
        ra_deg = shard["ra_deg"].to_numpy()[request.targets]
        target = pa.array(np.repeat(request.targets, _ROWS))
        names = target.cast(pa.string())
        found = pa.table(
            {
                "target": target,
                "match_arcsec": np.zeros(len(target)),
                "name": names,
                "mjd": np.tile(58000.0 + np.arange(_ROWS), len(request.targets)),
                "value": np.concatenate([self._work(place) for place in ra_deg]),
                "error": np.ones(len(target)),
            }
        )
        sources = pa.table([target, names, pa.array(np.zeros(len(target)))], schema=SOURCES)
        return Answer(light_curve_rows(found, shard, self.spec), sources)

    def _work(self, ra_deg: float) -> np.ndarray:
        """Wait and compute for one target; the result depends on its place alone."""
        time.sleep(self.spec.options["sleep_ms"] / 1000)
        order = self.spec.options["matrix"]
        matrix = np.eye(order) + 1 / (1 + ra_deg + np.add.outer(np.arange(order), np.arange(order)))
        return np.round(np.linalg.solve(matrix, np.ones(order))[:_ROWS], 6)

    def competing_sources(self, rows: pa.Table) -> pa.Table:
        return pa.table(
            {
                "target": rows["target"],
                "observation": rows["band"],
                "survey_object_id": rows["survey_object_id"],
            }
        )


ARCHIVE = Toy
