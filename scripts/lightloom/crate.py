"""A run as a Workflow Run RO-Crate (https://w3id.org/ro/wfrun/workflow): what was made from what.

The results folder itself becomes the crate: `ro-crate-metadata.json` describes the files of the
manifest, the archives that gave rows with their papers, and the run; beside it lie a copy of the
workflow, and the same in the terms of the IVOA Provenance Data Model (`provenance.json`). Times are
those of the retrieval, so that the crate of the same results is the same.
"""

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rocrate.model.contextentity import ContextEntity
from rocrate.model.person import Person
from rocrate.rocrate import ROCrate

from lightloom.citations import ACKNOWLEDGEMENTS, BIBTEX
from lightloom.config import ArchiveSpec
from lightloom.errors import ResultError
from lightloom.plan import load_plan, part_paths
from lightloom.record import Record, read_record
from lightloom.storage import write_json
from lightloom.summary import read_manifest

_METADATA, _PROVENANCE, _WORKFLOW = "ro-crate-metadata.json", "provenance.json", "workflow"

_PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": ("Process Run Crate", "0.5"),
    "https://w3id.org/ro/wfrun/workflow/0.5": ("Workflow Run Crate", "0.5"),
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": ("Workflow RO-Crate", "1.0"),
}
_MEDIA_TYPES = {
    ".bib": "application/x-bibtex",
    ".csv": "text/csv",
    ".fits": "application/fits",
    ".json": "application/json",
    ".parquet": "application/vnd.apache.parquet",
    ".properties": "text/plain",
    ".txt": "text/plain",
}
_BIOSCHEMAS = "https://bioschemas.org/profiles/ComputationalWorkflow/1.0-RELEASE"
_ORCID = re.compile(r"https://orcid\.org/(\d{4}-){3}\d{3}[\dX]")
_VOPROV = "http://www.ivoa.net/documents/ProvenanceDM/voprov/"


@dataclass(frozen=True)
class Author:
    """Who has made the run: a name, and an ORCID as a URL.

    Raises
    ------
    ResultError
        If the ORCID is none.
    """

    name: str
    orcid: str

    def __post_init__(self) -> None:
        if not _ORCID.fullmatch(self.orcid):
            raise ResultError(
                f"--orcid: found {self.orcid!r}, expected such as"
                " https://orcid.org/0000-0002-1825-0097; write it so"
            )


def write_crate(results: Path, workflow: Path, author: Author | None = None) -> Path:
    """Describe a finished run beside its files.

    Parameters
    ----------
    results : pathlib.Path
        The results folder of a finished run.
    workflow : pathlib.Path
        Folder of the Snakefile; it, its rules and its configuration are copied.
    author : Author, optional

    Returns
    -------
    pathlib.Path
        The metadata of the crate.

    Raises
    ------
    ResultError
        If the run is not finished, or there is no Snakefile.
    """
    manifest, record = read_manifest(results), read_record(results)
    if not (workflow / "Snakefile").exists():
        raise ResultError(
            f"{workflow / 'Snakefile'}: not found, expected the workflow of the run; name its"
            " folder with --workflow"
        )
    for name in (BIBTEX, ACKNOWLEDGEMENTS):
        if not (results / name).exists():
            raise ResultError(
                f"{results / name}: not found; run `snakemake --cores all` to the end"
            )
    jobs = list(_jobs(results, record))
    times = sorted(job["retrieved_utc"] for job in jobs)
    _copy_workflow(workflow, results / _WORKFLOW)
    write_json(results / _PROVENANCE, _ivoa_provenance(record, jobs))
    crate = ROCrate(version="1.1")
    crate.name = f"Light curves of {manifest['targets']} targets"
    crate.description = (
        f"{manifest['rows']} measurements of {manifest['targets']} targets from public archives,"
        f" collected with Lightloom {record.version}."
    )
    crate.datePublished = times[-1] if times else "1970-01-01"
    crate.license = crate.add(_terms(crate))
    profiles = [
        crate.add(
            ContextEntity(crate, url, {"@type": "CreativeWork", "name": name, "version": version})
        )
        for url, (name, version) in _PROFILES.items()
    ]
    crate.root_dataset["conformsTo"] = profiles
    _add_run(crate, results, record, manifest, times, author)
    crate.metadata.write(str(results))
    return results / _METADATA


def _terms(crate: ROCrate) -> ContextEntity:
    text = (
        "The measurements are those of the archives, under their terms: cite and acknowledge them"
        f" as {BIBTEX} and {ACKNOWLEDGEMENTS} say."
    )
    return ContextEntity(
        crate,
        "#terms",
        {"@type": "CreativeWork", "name": "Terms of the archives", "description": text},
    )


def _add_run(
    crate: ROCrate,
    results: Path,
    record: Record,
    manifest: Mapping[str, Any],
    times: list[str],
    author: Author | None,
) -> None:
    """Add the workflow, its inputs and outputs, and the action that made these."""
    crate.add(ContextEntity(crate, _BIOSCHEMAS, {"@type": "CreativeWork", "name": "Workflow"}))
    workflow = crate.add_workflow(
        dest_path=f"{_WORKFLOW}/Snakefile",
        main=True,
        lang="snakemake",
        properties={
            "name": "Lightloom",
            "version": record.version,
            "description": "Light curves of a sample of targets from the public archives.",
            "encodingFormat": "text/plain",
            "conformsTo": {"@id": _BIOSCHEMAS},
        },
    )
    outputs = [_add_file(crate, path, facts) for path, facts in sorted(manifest["files"].items())]
    outputs += [
        _add_file(crate, name, {"bytes": (results / name).stat().st_size})
        for name in (BIBTEX, ACKNOWLEDGEMENTS, "manifest.json", _PROVENANCE)
    ]
    sample = next(one for one in outputs if one.id == "sample/sample.parquet")
    outputs.remove(sample)
    inputs = [sample, _add_file(crate, "run.json", {})]
    asked = {name: record.archives[name] for name in record.enabled}
    archives = [_add_archive(crate, spec) for spec in asked.values()]
    for role, entity, kind in (
        *(("input", one, "File") for one in inputs),
        *(
            ("output", one, "File")
            for one in outputs
            if one.id in ("ledger.parquet", "manifest.json")
        ),
    ):
        parameter = crate.add_formal_parameter(
            name=Path(entity.id).stem,
            additionalType=kind,
            identifier=f"#{Path(entity.id).stem}",
            properties={"workExample": {"@id": entity.id}},
        )
        workflow.append_to(role, parameter)
        entity["exampleOfWork"] = parameter
    people = {}
    if author:
        people = {"agent": crate.add(Person(crate, author.orcid, {"name": author.name}))}
        crate.creator = people["agent"]
    span = {"startTime": times[0], "endTime": times[-1]} if times else {}
    action = crate.add_action(
        workflow,
        identifier="#search",
        object=[*inputs, *archives],
        result=outputs,
        properties={
            "name": "Search of the archives",
            "description": f"{len(times)} searches of a shard of the sky in an archive, and their"
            " merge; times are those of the first and the last retrieval.",
            "actionStatus": "http://schema.org/CompletedActionStatus",
            **span,
            **people,
        },
    )
    crate.root_dataset["mentions"] = action


def _add_file(crate: ROCrate, path: str, facts: Mapping[str, Any]) -> Any:
    properties: dict[str, Any] = {"name": path}
    properties["encodingFormat"] = _MEDIA_TYPES.get(Path(path).suffix, "application/octet-stream")
    if "sha256" in facts:
        properties["sha256"] = facts["sha256"]
    if "bytes" in facts:
        properties["contentSize"] = str(facts["bytes"])
    return crate.add_file(dest_path=path, properties=properties)


def _add_archive(crate: ROCrate, spec: ArchiveSpec) -> ContextEntity:
    """Add an archive as something that was used, with its paper."""
    bibcode = spec.citation["bibcode"]
    details = spec.citation.get("paper", {})
    paper = crate.add(
        ContextEntity(
            crate,
            f"https://doi.org/{details['doi']}" if "doi" in details else f"#{bibcode}",
            {
                "@type": "ScholarlyArticle",
                "identifier": bibcode,
                "name": details.get("title", bibcode),
            },
        )
    )
    return crate.add(
        ContextEntity(
            crate,
            f"#archive-{spec.name}",
            {
                "@type": "CreativeWork",
                "name": spec.title,
                "alternateName": spec.name,
                "version": spec.release,
                "url": spec.endpoint,
                "creditText": spec.citation["acknowledgement"],
                "citation": {"@id": paper.id},
            },
        )
    )


def _copy_workflow(source: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    (target / "config").mkdir(parents=True)
    shutil.copy(source / "Snakefile", target)
    shutil.copytree(source / "rules", target / "rules")
    for path in sorted((source / "config").glob("*.yaml")):
        shutil.copy(path, target / "config")


def _jobs(results: Path, record: Record) -> Iterator[dict[str, Any]]:
    """Yield what the statuses tell of the searches, in the order of archives and shards."""
    for archive in record.enabled:
        for shard in load_plan(results).shards:
            _, path = part_paths(results, archive, shard)
            if path.exists():
                status = json.loads(path.read_text(encoding="utf-8"))
                yield {name: value for name, value in status.items() if name != "targets"}


def _ivoa_provenance(record: Record, jobs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the run in PROV-JSON with the names of the IVOA Provenance Data Model 1.0."""
    entities: dict[str, Any] = {}
    activities: dict[str, Any] = {}
    used: dict[str, Any] = {}
    generated: dict[str, Any] = {}
    for job in jobs:
        archive, shard = job["archive"], job["shard"]
        activity, part = f"lightloom:fetch/{archive}/{shard}", f"lightloom:parts/{archive}/{shard}"
        activities[activity] = {
            "voprov:name": f"search of {archive} for shard {shard}",
            "prov:endTime": job["retrieved_utc"],
            "voprov:votype": "voprov:DataAcquisition",
        }
        entities[part] = {
            "voprov:name": f"parts/{archive}/{shard}.parquet",
            "voprov:votype": "voprov:DatasetEntity",
            "lightloom:sha256": job["part"]["sha256"],
        }
        for role, entity in (
            ("shard", f"lightloom:shards/{shard}"),
            ("archive", f"lightloom:{archive}"),
        ):
            entities.setdefault(entity, {"voprov:name": entity.removeprefix("lightloom:")})
            used[f"_:used/{archive}/{shard}/{role}"] = {
                "prov:activity": activity,
                "prov:entity": entity,
                "prov:role": role,
            }
        generated[f"_:made/{archive}/{shard}"] = {"prov:activity": activity, "prov:entity": part}
        merge, merged = f"lightloom:merge/{shard}", f"lightloom:lightcurves/{shard}"
        activities.setdefault(merge, {"voprov:name": f"merge of shard {shard}"})
        entities.setdefault(merged, {"voprov:name": f"lightcurves/{shard}.parquet"})
        used[f"_:merged/{archive}/{shard}"] = {"prov:activity": merge, "prov:entity": part}
        generated.setdefault(f"_:made/{shard}", {"prov:activity": merge, "prov:entity": merged})
    for name in record.enabled:
        spec = record.archives[name]
        entities[f"lightloom:{name}"] = {
            "voprov:name": spec.title,
            "voprov:votype": "voprov:DatasetEntity",
            "voprov:comment": f"release {spec.release}",
            "prov:location": spec.endpoint,
            "voprov:rights": "public",
        }
    return {
        "prefix": {
            "prov": "http://www.w3.org/ns/prov#",
            "voprov": _VOPROV,
            "lightloom": "urn:lightloom:",
        },
        "agent": {
            "lightloom:software": {
                "voprov:name": f"Lightloom {record.version}",
                "prov:type": "prov:SoftwareAgent",
            }
        },
        "entity": entities,
        "activity": activities,
        "used": used,
        "wasGeneratedBy": generated,
        "wasAssociatedWith": {
            f"_:by/{activity}": {"prov:activity": activity, "prov:agent": "lightloom:software"}
            for activity in activities
        },
    }
