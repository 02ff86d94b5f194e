"""The rows of an export: light curves with the position of their target."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa
import pyarrow.compute as pc

from lightloom.read import Dataset, Selection
from lightloom.schema import LIGHTCURVE, SHARD

_POSITION = ("ra_deg", "dec_deg")

#: Columns of every export but HATS, which has the positions in its own way.
EXPORTED = pa.schema(
    [
        LIGHTCURVE.field("objectid"),
        *(SHARD.field(name) for name in _POSITION),
        *(field for field in LIGHTCURVE if field.name != "objectid"),
    ]
)

#: Column with the time that the files declare: TDB at the barycentre.
TIME = "time_mjd_tdb"


@dataclass(frozen=True)
class ExportSource:
    """Rows of a run on their way into a file; they may be read more than once."""

    dataset: Dataset
    selection: Selection

    @cached_property
    def schema(self) -> pa.Schema:
        """Columns of the rows."""
        wanted = {*self.dataset.columns(self.selection), *_POSITION, "objectid"}
        return pa.schema([field for field in EXPORTED if field.name in wanted])

    def blocks(self) -> Iterator[pa.Table]:
        """Give the rows in pieces of bounded size, in the order of the data set."""
        names = tuple(name for name in self.schema.names if name not in _POSITION)
        chosen = Selection(**{**vars(self.selection), "columns": names})
        targets = self.dataset.targets(self.selection)
        objectids = targets["objectid"].combine_chunks()
        for block in self.dataset.blocks(chosen):
            where = pc.index_in(block["objectid"], value_set=objectids)
            columns = {name: block[name] for name in names}
            columns |= {name: targets[name].take(where) for name in _POSITION}
            yield pa.table({name: columns[name] for name in self.schema.names}, self.schema)
