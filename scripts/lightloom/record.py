"""The record of a run: what was asked of which archives, for commands that read its results.

It is written when the workflow starts, holds neither times nor options of stores and tokens, and
nothing depends on it.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightloom.errors import ResultError
from lightloom.views import COMMON_VIEWS, Views

if TYPE_CHECKING:
    from lightloom.config import ArchiveSpec, Run

_NAME = "run.json"

#: Options that say how a store is reached, and may name what only its owner has to know; and where
#: replies are kept, which says nothing of what was asked.
_WITHOUT_OPTIONS: dict[str, dict[str, Any]] = {"storage_options": {}}
_PRIVATE: dict[str, dict[str, Any]] = _WITHOUT_OPTIONS | {"auth": {}, "replies": {}}


@dataclass(frozen=True)
class Record:
    """A run, as its results folder tells of it.

    Attributes
    ----------
    version : str
        Version of Lightloom.
    archives : dict of str to ArchiveSpec
        Every archive of the catalogue; without options of stores and tokens.
    keys : dict of str to dict
        What the parts of each archive that was asked depend on besides their shards.
    settings : dict
        The sections ``sample`` and ``shards`` of the configuration, and ``allow_partial``.
    """

    version: str
    archives: dict[str, "ArchiveSpec"]
    keys: dict[str, dict[str, str]]
    settings: dict[str, Any]

    @property
    def enabled(self) -> list[str]:
        """Names of the archives that were asked, sorted."""
        return sorted(self.keys)


def write_record(run: "Run", keys: dict[str, dict[str, dict[str, str]]]) -> None:
    """Write the record of a run, if it differs from the one that is there.

    Parameters
    ----------
    run : Run
    keys : dict
        ``fetch_keys`` of every archive that is asked.
    """
    from lightloom import __version__

    content = {
        "lightloom": __version__,
        "archives": {name: _public(spec) for name, spec in run.archives.items()},
        "read_from": {name: str(run.archives[name].place) for name in keys},
        "keys": {name: _without_shard(of_shards) for name, of_shards in keys.items()},
        "settings": {
            "sample": _without_stores(run.sample.as_dict()),
            "shards": {"max_targets": run.shards.max_targets},
            "allow_partial": run.allow_partial,
        },
    }
    text = json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    path = run.results / _NAME
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp")
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)


def _public(spec: "ArchiveSpec") -> dict[str, Any]:
    entry = spec.as_dict() | _PRIVATE
    copies = {name: copy | _WITHOUT_OPTIONS for name, copy in spec.copies.items()}
    return entry | {"copies": copies}


def _without_shard(keys: dict[str, dict[str, str]]) -> dict[str, str]:
    key = next(iter(keys.values()), {})
    return {name: value for name, value in key.items() if name != "shard_hash"}


def _without_stores(sample: dict[str, Any]) -> dict[str, Any]:
    sources = [
        {name: value for name, value in source.items() if name not in _PRIVATE}
        for source in sample["sources"]
    ]
    return {**sample, "sources": sources}


def read_record(results: Path) -> Record:
    """Read the record of a run.

    Raises
    ------
    ResultError
        If there is none, or it is damaged.
    """
    from lightloom.config import ArchiveSpec

    with _reading(results) as content:
        archives = {
            name: ArchiveSpec.from_dict(entry) for name, entry in content["archives"].items()
        }
        return Record(content["lightloom"], archives, content["keys"], content["settings"])


def read_views(results: Path) -> dict[str, Views]:
    """Read the views of the archives that a run has asked, of whatever version of Lightloom.

    Raises
    ------
    ResultError
        If there is no record, or it is damaged.
    """
    with _reading(results) as content:
        return {
            name: {**COMMON_VIEWS, **content["archives"][name]["views"]}
            for name in sorted(content["keys"])
        }


@contextmanager
def _reading(results: Path) -> Iterator[dict[str, Any]]:
    path = results / _NAME
    if not path.exists():
        raise ResultError(
            f"{path}: not found, expected the record of a run; name the results folder of a run,"
            " or start one with `snakemake --cores all`"
        )
    try:
        yield json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ResultError(
            f"{path}: found {error!r}, expected a whole record; it is written anew when"
            " `snakemake --cores all` starts"
        ) from error
