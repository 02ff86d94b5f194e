"""What every archive does: plan the requests for a shard, answer one, and judge the rows."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lightloom.config import ArchiveSpec
from lightloom.errors import ArchiveError
from lightloom.reads import Reads

#: Columns of an answer's sources: what was found near which target.
SOURCES = pa.schema(
    [("target", pa.int64()), ("survey_object_id", pa.string()), ("match_arcsec", pa.float64())]
)

#: Columns of an answer's offsets: at how many positions beside a target it was looked for matches
#: by chance, and at how many of them there is one.
OFFSET_COUNTS = pa.schema(
    [("target", pa.int64()), ("n_offsets", pa.int64()), ("n_offset_matches", pa.int64())]
)


@dataclass(frozen=True)
class Request:
    """A piece of work, which a Dask worker does at a stretch.

    Attributes
    ----------
    targets : ndarray of int64, shape (n,)
        Rows of the shard that the request is about.
    what : object
        What the archive needs to answer it.
    """

    targets: NDArray[np.int64]
    what: Any


@dataclass(frozen=True)
class RequestPlan:
    """The requests for a shard, and the targets that the archive has not observed.

    Attributes
    ----------
    requests : sequence of Request
    outside_footprint : ndarray of int64
        Rows of the shard.
    reads : Reads
        What was read to make the plan.
    """

    requests: Sequence[Request]
    outside_footprint: NDArray[np.int64]
    reads: Reads = field(default_factory=Reads)


@dataclass(frozen=True)
class Answer:
    """Everything that an archive has about the targets of one request.

    Attributes
    ----------
    rows : pyarrow.Table
        In the schema ``TARGET_ROWS``, ordered by target.
    sources : pyarrow.Table
        ``SOURCES``: the survey objects matched, also those without a light curve.
    incomplete : mapping of int to ArchiveError
        Targets some of whose rows could not be had, and why. They keep what is here, end as
        ``truncated`` and are asked for again.
    places : tuple of str
        Where the data were read from, if the archive is more than a service (see
        `lightloom.access`).
    offsets : pyarrow.Table
        ``OFFSET_COUNTS``, one row for a target at most.
    """

    rows: pa.Table
    sources: pa.Table
    reads: Reads = field(default_factory=Reads)
    method: str = ""
    incomplete: Mapping[int, ArchiveError] = field(default_factory=dict)
    places: tuple[str, ...] = ()
    offsets: pa.Table = field(default_factory=OFFSET_COUNTS.empty_table)


class Archive(ABC):
    """An archive of light curves; instances travel to the Dask workers.

    Parameters
    ----------
    spec : ArchiveSpec
        The archive's catalogue entry.
    state : Path
        Folder shared by all jobs and workers of all services, for what they have to know of each
        other (see `lightloom.services.folders`). It need not exist.
    """

    def __init__(self, spec: ArchiveSpec, state: Path) -> None:
        self.spec = spec
        self.state = state

    def probe(self) -> None:  # noqa: B027 (most archives check what they open)
        """Ask a service for something known, and compare it with the catalogue entry.

        Called before the first shard is searched (see `lightloom.services.probe`). A Parquet
        catalogue has nothing to probe: its columns are checked whenever it is opened.

        Raises
        ------
        ArchiveSchemaError
            If columns, types or units are not those of the entry; the message names the column.
        TransientArchiveError
            If the service does not answer.
        """

    @abstractmethod
    def plan(self, shard: pa.Table) -> RequestPlan:
        """Divide the search for a shard's targets into requests.

        Parameters
        ----------
        shard : pyarrow.Table
            Targets in the ``SHARD`` schema.

        Raises
        ------
        ArchiveError
            If the archive cannot be asked at all.
        """

    @abstractmethod
    def answer(self, shard: pa.Table, request: Request) -> Answer:
        """Search the archive for the targets of one request.

        Raises
        ------
        ArchiveError
            If the search failed; a transient failure is tried again, and of a `TooLargeError` the
            pieces that `split` returns.
        """

    def is_quick(self, request: Request) -> bool:
        """Tell whether Dask's own time for a task is a good part of that of the answer.

        Such requests are sent several at a time. By default none is: what a service is asked is
        mostly waited for.
        """
        return False

    def split(self, request: Request, n_pieces: int) -> Sequence[Request]:
        """Divide a request whose answer is too large for the memory of a worker.

        Parameters
        ----------
        request : Request
        n_pieces : int
            How many pieces to aim at, at least 2.

        Returns
        -------
        sequence of Request
            Each target is in one of them; the request alone, if it cannot be divided.
        """
        return [request]

    @abstractmethod
    def competing_sources(self, rows: pa.Table) -> pa.Table:
        """Name the observations of which a target can have only one.

        Parameters
        ----------
        rows : pyarrow.Table
            Light-curve rows with their ``target``.

        Returns
        -------
        pyarrow.Table
            Columns ``target``, ``observation`` and ``survey_object_id``: two sources of one target
            in the same observation are distinct objects on the sky, and the target's match is
            ambiguous.
        """
