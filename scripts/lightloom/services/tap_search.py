"""Searches of TAP tables for targets and objects, in which nothing goes missing unnoticed.

Whatever is uploaded comes back at least once, through the outer join of a counted query. The rows
of any other reply are compared in number with those that the service counts for the same query.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from lightloom.catalogs.geometry import Neighbourhoods, cells_at, separation_arcsec
from lightloom.errors import ArchiveSchemaError, TruncatedAnswerError
from lightloom.services.tap import Question, Service, WholeReplies, ask_whole
from lightloom.services.tap_adql import (
    ASKED_ID,
    FOUND_ID,
    TARGET,
    TARGET_DEC,
    TARGET_RA,
    counting,
)
from lightloom.services.tap_votable import ExpectedColumn, upload_bytes

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]


def ask_about_targets(
    service: Service,
    adql: str,
    expected: Sequence[ExpectedColumn],
    ra_deg: FloatArray,
    dec_deg: FloatArray,
    *,
    counted: bool,
) -> WholeReplies:
    """Ask a query that joins the uploaded targets with a table.

    Parameters
    ----------
    service : Service
    adql : str
        Query that reads ``TAP_UPLOAD.targets``.
    expected : sequence of ExpectedColumn
        Columns of the reply, ``target`` among them.
    ra_deg, dec_deg : ndarray, shape (n,)
        The targets [deg].
    counted : bool
        Whether every target has a row in the reply.

    Returns
    -------
    WholeReplies
        Their ``target`` is an index of ``ra_deg``.
    """

    def ask(targets: IntArray) -> pa.Table:
        # Targets are numbered from zero in every upload, so that a job for them is found again
        # whichever targets failed beside them.
        columns = {TARGET: np.arange(len(targets))}
        positions = {TARGET_RA: ra_deg[targets], TARGET_DEC: dec_deg[targets]}
        upload = pa.table(columns | positions)
        reply = _ask_uploaded(
            service, adql, expected, upload, "targets", dict.fromkeys(positions, "deg"), counted
        )
        numbers = pa.array(targets).take(reply[TARGET].cast(pa.int64()))
        return reply.set_column(reply.column_names.index(TARGET), TARGET, numbers)

    return ask_whole(ask, np.arange(len(ra_deg)))


def ask_about_circles(
    service: Service,
    write: Callable[[Sequence[tuple[float, float]]], str],
    expected: Sequence[ExpectedColumn],
    position: tuple[str, str],
    ra_deg: FloatArray,
    dec_deg: FloatArray,
    radius_arcsec: float,
) -> WholeReplies:
    """Ask a query that lists the targets itself.

    Parameters
    ----------
    service, expected, ra_deg, dec_deg
        As for `ask_about_targets`; the reply need not tell the targets apart.
    write : callable
        Returns the query for positions [deg].
    position : tuple of str
        Columns of the position in the reply.
    radius_arcsec : float
        Rows not farther than this from a target belong to it [arcsec].

    Returns
    -------
    WholeReplies
        With ``target``, an index of ``ra_deg``.
    """

    def ask(targets: IntArray) -> pa.Table:
        adql = write(list(zip(ra_deg[targets], dec_deg[targets], strict=True)))
        reply = ask_counted(service, Question(adql, expected, len(targets)))
        near = Neighbourhoods.of(ra_deg[targets], dec_deg[targets], radius_arcsec)
        ra, dec = (reply[name].to_numpy() for name in position)
        row, target, _ = near.match(ra, dec, cells_at(ra, dec, near.order))
        return reply.take(pa.array(row)).append_column(TARGET, pa.array(targets[target]))

    return ask_whole(ask, np.arange(len(ra_deg)))


def ask_about_objects(
    service: Service,
    adql: str,
    expected: Sequence[ExpectedColumn],
    ids: pa.Array,
    *,
    counted: bool,
) -> WholeReplies:
    """Ask a query that joins the uploaded objects with their measurements.

    Parameters
    ----------
    service, expected, counted
        As for `ask_about_targets`, with the column ``asked_id``.
    adql : str
        Query that reads ``TAP_UPLOAD.objects``.
    ids : pyarrow.Array
        Distinct ids of objects, integers or text.

    Returns
    -------
    WholeReplies
    """

    def ask(objects: IntArray) -> pa.Table:
        upload = pa.table({ASKED_ID: ids.take(pa.array(objects))})
        return _ask_uploaded(service, adql, expected, upload, "objects", {}, counted)

    return ask_whole(ask, np.arange(len(ids)))


def ask_about_listed(
    service: Service,
    write: Callable[[Sequence[int | str]], str],
    expected: Sequence[ExpectedColumn],
    ids: pa.Array,
) -> WholeReplies:
    """Ask a query that lists the objects itself.

    Parameters
    ----------
    service, expected, ids
        As for `ask_about_objects`.
    write : callable
        Returns the query for ids.

    Returns
    -------
    WholeReplies
        With ``asked_id``, the id of the row.
    """

    def ask(objects: IntArray) -> pa.Table:
        adql = write(ids.take(pa.array(objects)).to_pylist())
        reply = ask_counted(service, Question(adql, expected, len(objects)))
        return reply.append_column(ASKED_ID, reply[FOUND_ID])

    return ask_whole(ask, np.arange(len(ids)))


def ask_counted(service: Service, question: Question) -> pa.Table:
    """Return a reply that has as many rows as the service counts for the same query.

    Raises
    ------
    TruncatedAnswerError
        If it has another number of rows.
    """
    reply = service.ask(question)
    n_rows = count_rows(service, question)
    if n_rows != reply.num_rows:
        raise TruncatedAnswerError(
            f"{service.endpoint}: the reply has {reply.num_rows} rows, the service counts {n_rows}"
        )
    return reply


def count_rows(service: Service, question: Question) -> int:
    """Return the number of rows that the service counts for a query.

    Raises
    ------
    TruncatedAnswerError
        If the count itself is missing.
    """
    expected = [ExpectedColumn("n_rows", is_number=True)]
    reply = service.ask(replace(question, adql=counting(question.adql), expected=expected))
    if reply.num_rows != 1:
        raise TruncatedAnswerError(
            f"{service.endpoint}: found {reply.num_rows} rows in the reply to a count, expected one"
        )
    return int(reply["n_rows"][0].as_py())


def within_radius(
    reply: pa.Table,
    position: tuple[str, str],
    ra_deg: FloatArray,
    dec_deg: FloatArray,
    radius_arcsec: float,
) -> pa.Table:
    """Keep the rows not farther than the radius from their target, and add ``match_arcsec``.

    Parameters
    ----------
    reply : pyarrow.Table
        With ``target``, an index of ``ra_deg``; a row without a position has found nothing.
    position : tuple of str
        Columns of the position [deg].
    ra_deg, dec_deg : ndarray, shape (n,)
        The targets [deg].
    radius_arcsec : float
        The radius [arcsec].
    """
    target = reply[TARGET].to_numpy()
    ra, dec = (reply[name].to_numpy() for name in position)
    with np.errstate(invalid="ignore"):
        distance_arcsec = separation_arcsec(ra_deg[target], dec_deg[target], ra, dec)
        near = distance_arcsec <= radius_arcsec
    found = reply.append_column("match_arcsec", pa.array(distance_arcsec))
    return found.filter(pa.array(near))


def _ask_uploaded(
    service: Service,
    adql: str,
    expected: Sequence[ExpectedColumn],
    upload: pa.Table,
    name: str,
    units: dict[str, str],
    counted: bool,
) -> pa.Table:
    """Ask about the rows of an upload, known by its first column."""
    content = upload_bytes(upload, units)
    question = Question(adql, expected, upload.num_rows, name, content)
    reply = service.ask(question) if counted else ask_counted(service, question)
    key = upload.column_names[0]
    if reply[key].type != upload[key].type:
        raise ArchiveSchemaError(
            f"{service.endpoint}: column {key!r} has type {reply[key].type}, expected"
            f" {upload[key].type} as it was uploaded"
        )
    row = pc.index_in(reply[key], upload[key])
    if row.null_count:
        raise ArchiveSchemaError(
            f"{service.endpoint}: column {key!r} has {row.null_count} values other than those that"
            " were uploaded"
        )
    n_missing = upload.num_rows - pc.count_distinct(row).as_py()
    if counted and n_missing:
        raise TruncatedAnswerError(
            f"{service.endpoint}: the reply lacks {n_missing} of {upload.num_rows} {name}"
        )
    return reply
