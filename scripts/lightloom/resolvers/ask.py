"""Which service is asked a query, and how."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from lightloom.config_sources import (
    LiteratureSource,
    QuasarSource,
    ResolverSpec,
    TapSource,
)
from lightloom.errors import ArchiveError, SampleError
from lightloom.resolvers.listing import Listing
from lightloom.resolvers.names import list_names
from lightloom.resolvers.publications import Publication, list_publication
from lightloom.resolvers.quasars import list_quasars
from lightloom.resolvers.queries import list_query
from lightloom.resolvers.ztf import list_ztf_objects
from lightloom.sample.queries import KNOWN, Query
from lightloom.services.retries import retrying

#: Most rows of a reply of SIMBAD.
_SIMBAD_MAXREC = 2_000_000

#: Unresolved entries that a message lists.
_MAX_ENTRIES = 10


def ask(query: Query, resolvers: Mapping[str, ResolverSpec], state: Path) -> Listing:
    """Ask the services of a query.

    Parameters
    ----------
    query : Query
    resolvers : mapping of str to ResolverSpec
        The services, by name.
    state : pathlib.Path
        Folder shared by all that asks services.

    Returns
    -------
    Listing

    Raises
    ------
    SampleError
        If a service cannot be asked, or lists nothing; the message says what to do.
    """
    specs = _specs(query, resolvers)
    try:
        listing = _ask(query, specs, state)
    except ArchiveError as error:
        places = " and ".join(f"{spec.name} at {spec.endpoint}" for spec in specs.values())
        raise SampleError(
            f"{query.title}: expected an answer of {places}, found: {error}; there is no frozen"
            f" table yet, so {_advice(query, error)}"
        ) from error
    except SampleError as error:
        raise SampleError(f"{query.title}: {error}") from error
    if not listing.table.num_rows:
        entries = [repr(one.entry) for one in listing.unresolved]
        more = ", ..." if len(entries) > _MAX_ENTRIES else ""
        raise SampleError(
            f"{query.title}: found {', '.join(entries[:_MAX_ENTRIES])}{more}, expected"
            f" {KNOWN[query.source.kind]} at least once"
        )
    return listing


def _ask(query: Query, specs: Mapping[str, ResolverSpec], state: Path) -> Listing:
    source = query.source
    if source.kind == "names":
        return list_names(query.entries, specs["simbad"], specs["sesame"], state)
    (spec,) = specs.values()
    retry = retrying(spec.limits)
    if source.kind == "ztf_ids":
        return list_ztf_objects(query.entries, spec, state)
    if isinstance(source, QuasarSource):
        return list_quasars(source, spec, state)
    if isinstance(source, LiteratureSource):
        publication = Publication(
            source.name, spec.name, source.catalogue, source.where or (), query.expected_rows
        )
        return retry(list_publication, publication, spec, state)
    assert isinstance(source, TapSource)
    return retry(list_query, source, spec, state)


def _specs(query: Query, resolvers: Mapping[str, ResolverSpec]) -> dict[str, ResolverSpec]:
    """Return the services of a query with what a TAP service wants besides."""
    source = query.source
    if isinstance(source, TapSource):
        limits = next(iter(resolvers.values())).limits
        sync_targets = 1 if source.mode == "sync" else 0
        options = {"maxrec": source.maxrec}
        spec = ResolverSpec(
            "tap", source.endpoint, limits | {"sync_targets": sync_targets}, source.auth, options
        )
        return {"tap": spec}
    specs = {name: resolvers[name] for name in query.resolvers}
    if "simbad" in specs:
        simbad = specs["simbad"]
        specs["simbad"] = replace(
            simbad,
            limits=simbad.limits | {"sync_targets": _SIMBAD_MAXREC},
            options={"maxrec": _SIMBAD_MAXREC},
        )
    return specs


def _advice(query: Query, error: ArchiveError) -> str:
    if error.error_class != "transient":
        return "correct the source, or the address of the service, in the configuration"
    if isinstance(query.source, LiteratureSource):
        name = query.title.partition(":")[2]
        return (
            f"start again when it answers, or write its table to config/samples/{name}.csv"
            " (columns name, ra, dec; ICRS, deg)"
        )
    return "start again when it answers, or give the targets as a table"
