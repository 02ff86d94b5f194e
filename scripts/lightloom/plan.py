"""What has to be done, decided when the Snakefile is read.

The sample is cut into shard files whose bytes change only if their own targets do, and each fetch
is keyed by its shard's content, its archive's settings and its archive's code, so that Snakemake
re-runs exactly what changed. Everything here that a start without changes needs is cheap: no table
is opened and no numerical library imported.
"""

import ast
import hashlib
import importlib.util
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightloom.errors import ConfigError
from lightloom.sample.frozen import FrozenAnswers
from lightloom.sample.sources import find_tables

if TYPE_CHECKING:
    from lightloom.config import ArchiveSpec, Run

#: Raise it when the meaning of the sample's or the shards' files changes.
PLAN_VERSION = 2


@dataclass(frozen=True)
class Shard:
    """One shard: its name, its number of targets, and the hash of their content."""

    name: str
    n_targets: int
    content_hash: str


@dataclass(frozen=True)
class Plan:
    """The shards of a run in the order of the sky, and the results folder they lie in."""

    results: Path
    shards: dict[str, Shard]

    @property
    def n_targets(self) -> int:
        """Number of targets in the sample."""
        return sum(shard.n_targets for shard in self.shards.values())


def plan_path(results: Path) -> Path:
    """Path of the list of shards."""
    return results / "shards" / "plan.json"


def shard_path(results: Path, name: str) -> Path:
    """Path of a shard's targets."""
    return results / "shards" / f"{name}.parquet"


def digest_json(value: Any) -> str:
    """Hash a JSON-able value; the order of keys does not matter (16 hexadecimal digits)."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def fingerprint(run: "Run", states: Mapping[str, Any]) -> str:
    """Identify the tables of a sample and the settings that turn them into shards."""
    settings = [PLAN_VERSION, run.sample.as_dict(), run.shards.max_targets]
    return digest_json([*settings, dict(states)])


def load_plan(results: Path) -> Plan:
    """Read the plan that the main process has made.

    Raises
    ------
    ConfigError
        If there is none.
    """
    path = plan_path(results)
    if not path.exists():
        raise ConfigError(f"{path}: not found; expected the plan that a run writes when it starts")
    document = json.loads(path.read_text())
    shards = {entry["name"]: Shard(**entry) for entry in document["shards"]}
    return Plan(results, shards)


def sync_plan(run: "Run", *, dry_run: bool = False) -> Plan:
    """Bring the sample and the shard files up to date with the sample's sources.

    Files whose content would stay the same are left alone, so that their times and bytes do not
    change. A start without changes compares sizes and times only, and the versions that servers
    tell of remote tables.

    Parameters
    ----------
    run : Run
        The validated configuration.
    dry_run : bool
        Leave wrong tables of an inbox where they are.

    Returns
    -------
    Plan

    Raises
    ------
    SampleError
        If the sample is wrong; all earlier files stay.
    """
    path = plan_path(run.results)
    copies = run.results / "sample" / ".copies"
    tables = find_tables(run.sample, copies, FrozenAnswers.of(run))
    if path.exists():
        document = json.loads(path.read_text())
        plan = load_plan(run.results)
        whole = all(shard_path(run.results, name).exists() for name in plan.shards)
        same = document["fingerprint"] == fingerprint(run, tables.states)
        if same and whole and (dry_run or not document.get("wrong_arrivals")):
            return plan
    # Only a changed sample needs the table libraries.
    from lightloom.sample.build import build_sample

    return build_sample(run, tables, dry_run=dry_run)


def code_hash(spec: "ArchiveSpec") -> str:
    """Hash the code of an archive's module, without comments, docstrings and layout.

    Parameters
    ----------
    spec : ArchiveSpec
        The archive; its module is found but not imported.

    Returns
    -------
    str
        16 hexadecimal digits.

    Raises
    ------
    ConfigError
        If there is no such module.
    """
    found = importlib.util.find_spec(spec.module_name)
    if found is None or found.origin is None:
        raise ConfigError(
            f"archives.{spec.name}.module: {spec.module!r} not found; expected a module of"
            " lightloom.archives or a dotted path on PYTHONPATH"
        )
    tree = ast.parse(Path(found.origin).read_text())
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(tree):
        if isinstance(node, documented) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return hashlib.sha256(ast.unparse(tree).encode()).hexdigest()[:16]


def fetch_keys(plan: Plan, spec: "ArchiveSpec") -> dict[str, dict[str, str]]:
    """Return what the part of each shard depends on: one with another key is out of date."""
    settings_hash = digest_json(spec.settings())
    module_hash = code_hash(spec)
    return {
        name: {
            "shard_hash": shard.content_hash,
            "settings_hash": settings_hash,
            "code_hash": module_hash,
        }
        for name, shard in plan.shards.items()
    }


def part_paths(results: Path, archive: str, shard: str) -> tuple[Path, Path]:
    """Paths of a part and of its status."""
    folder = results / "parts" / archive
    return folder / f"{shard}.parquet", folder / f"{shard}.status.json"


def unfinished_path(part: Path, suffix: str) -> Path:
    """Path of what an unfinished fetch keeps beside its part; readers of the folder skip it."""
    return part.with_name(f".{part.stem}.unfinished{suffix}")


def services_path(part: Path) -> Path:
    """Path of the folder that the jobs of all services share; readers of the parts skip it."""
    return part.parent.parent / ".services"


def set_aside_unfinished(
    plan: Plan, keys: dict[str, dict[str, dict[str, str]]], *, thorough: bool
) -> None:
    """Remove the status of every part that is not whole, so that it is fetched again.

    Parts with failed targets and parts that were changed after their status was written are found
    by looking at the files' names, sizes and times alone.

    Parameters
    ----------
    plan : Plan
    keys : dict
        ``fetch_keys`` of every archive.
    thorough : bool
        Compare the digest and the key of every part as well, as is right after a disk fault or
        after the workflow's own records were lost.
    """
    for archive, archive_keys in keys.items():
        for shard in plan.shards:
            part, status = part_paths(plan.results, archive, shard)
            if status.exists() and not _is_whole(
                part, status, archive_keys[shard], thorough=thorough
            ):
                status.unlink()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_whole(part: Path, status: Path, key: dict[str, str], *, thorough: bool) -> bool:
    if not part.exists() or unfinished_path(part, ".json").exists():
        return False
    untouched = part.stat().st_mtime_ns <= status.stat().st_mtime_ns
    if untouched and not thorough:
        return True
    try:
        document = json.loads(status.read_text())
        same_key = document["key"] == key
        digest = document["part"]["sha256"]
    except (ValueError, KeyError):
        return False
    # An ordinary run leaves parts with another key to Snakemake: a reverted setting makes them good
    # again.
    return (same_key or not thorough) and digest == _sha256(part)
