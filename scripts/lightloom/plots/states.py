"""Page with a run's numbers: states, rows and cost for each archive, and what failed."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from lightloom import __version__
from lightloom.manifest import count_states
from lightloom.merge import read_status
from lightloom.plots.style import STATE_COLOURS
from lightloom.schema import STATES
from lightloom.storage import atomic_path

#: What each state means.
MEANINGS = {
    "data": "light curve found",
    "ambiguous": "light curve found, but of several sources in the same images",
    "truncated": "the archive cut its answer short; rows are missing",
    "searched_empty": "searched; the archive has nothing there",
    "outside_footprint": "the archive has not observed the place",
    "failed": "the search failed; see below",
    "not_requested": "the archive was not asked",
}

#: What to do about a search that ended without a class of failure of its own.
_TRUNCATED_REMEDY = (
    "The archive limits its answers. Ask for smaller pieces in its entry of config/archives.yaml,"
    " and run again."
)

#: What to do, by the class of the failure.
REMEDIES = {
    "transient": "Run the same command again: only these targets are asked for.",
    "permanent": "Read the log of the job; correct the archive's entry in the configuration.",
    "schema_changed": (
        "The archive's tables are not as its entry in config/archives.yaml says. Compare its"
        " columns and units, correct the entry, raise its query_version, and run again."
    ),
    "authentication": (
        "The archive refuses the token, or there is none. See `auth` in the archive's entry; a file"
        " with a token must be readable by you alone (mode 0600)."
    ),
    "bad_request": (
        "The archive does not understand the question. Compare the queries and the endpoint of its"
        " entry with the archive's documentation."
    ),
    "truncated": (
        "The archive cuts even the smallest answer short. Ask for less about these targets, such as"
        " a smaller radius, or set allow_partial: true to go on without them."
    ),
    "damaged_file": (
        "A file of the archive is damaged or absent. Run again later; if it stays so, tell the"
        " archive, or set allow_partial: true to go on without these targets."
    ),
    "not_kept": (
        "A replay asks nobody, and this reply is not among the kept ones. Run without replay and"
        " with replies.keep: true to ask for it."
    ),
}

#: Shards named for each failure; the ledger has all.
_SHOWN_SHARDS = 5


def tabulate_states(
    *,
    ledger_path: Path,
    status_paths: Sequence[Path],
    titles: Mapping[str, str],
    page_path: Path,
) -> None:
    """Write a self-contained HTML page about a run.

    Parameters
    ----------
    ledger_path : pathlib.Path
        The ledger (``LEDGER``).
    status_paths : sequence of pathlib.Path
        Status files of all parts.
    titles : mapping of str to str
        Full name of each archive of the catalogue.
    page_path : pathlib.Path
        The page to write.

    Raises
    ------
    ResultError
        If a status file cannot be read.
    """
    archives = count_states(ledger_path)
    costs = _sum_costs(status_paths)
    asked = {name: entry for name, entry in archives.items() if name in costs}
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("states.html.jinja").render(
        version=__version__,
        n_targets=pq.read_metadata(ledger_path).num_rows // max(1, len(archives)),
        states=[state for state in STATES if state != "not_requested"],
        colours=STATE_COLOURS,
        meanings=MEANINGS,
        archives={
            name: {**asked[name], **costs[name], "title": titles[name]} for name in sorted(asked)
        },
        not_asked=sorted(archives.keys() - asked.keys()),
        failures=_failures(ledger_path),
    )
    with atomic_path(page_path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _sum_costs(status_paths: Iterable[Path]) -> dict[str, dict[str, float]]:
    costs: dict[str, dict[str, float]] = {}
    for path in status_paths:
        status = read_status(path)
        total = costs.setdefault(status["archive"], {"requests": 0, "bytes": 0, "seconds": 0.0})
        for name in total:
            total[name] += status["reads"][name]
    return costs


def _failures(ledger_path: Path) -> list[dict[str, Any]]:
    """Group the searches without a complete answer by archive and reason, the largest first."""
    ledger = pq.read_table(
        ledger_path,
        columns=["archive", "shard", "state", "error_class", "message"],
        filters=pc.field("state").isin(["failed", "truncated"]),
    )
    groups = ledger.group_by(["archive", "state", "error_class", "message"]).aggregate(
        [([], "count_all"), ("shard", "distinct")]
    )
    groups = groups.sort_by(
        [("count_all", "descending"), ("archive", "ascending"), ("message", "ascending")]
    )
    return [_describe_failure(group) for group in groups.to_pylist()]


def _describe_failure(group: dict[str, Any]) -> dict[str, Any]:
    shards = sorted(group["shard_distinct"])
    more = len(shards) - _SHOWN_SHARDS
    return {
        "archive": group["archive"],
        "state": group["state"],
        "error_class": group["error_class"],
        "message": group["message"],
        "n_targets": group["count_all"],
        "shards": ", ".join(shards[:_SHOWN_SHARDS]) + (f" and {more} more" if more > 0 else ""),
        "remedy": REMEDIES.get(group["error_class"], _TRUNCATED_REMEDY),
    }
