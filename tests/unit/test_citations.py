"""Exactly the archives that gave rows are cited, in BibTeX that other tools read."""

from dataclasses import replace
from pathlib import Path

import pytest
from pybtex.database import parse_string

from lightloom.citations import acknowledgements, bibtex, read_citations, write_citations
from lightloom.config_files import load_project
from lightloom.errors import ResultError
from project import REPOSITORY
from small_run import SmallRun, lightcurve_row


def test_all_entries_of_the_catalogue_parse() -> None:
    specs = load_project(REPOSITORY, [], []).archives
    entries = parse_string(bibtex(specs.values()), "bibtex").entries
    assert {"lightloom", *(spec.citation["bibcode"] for spec in specs.values())} == set(entries)
    for spec in specs.values():
        entry = entries[spec.citation["bibcode"]]
        assert entry.persons["author"]
        # A bibcode begins with the year, and ends with the initial of the first author.
        assert entry.fields["year"] == spec.citation["bibcode"][:4]
        family = " ".join(entry.persons["author"][0].last_names).strip("{}")
        initials = {word[0].upper() for word in family.split()}
        initials |= {name[0].upper() for name in entry.persons["author"][0].prelast_names}
        assert spec.citation["bibcode"][-1] in initials
        assert entry.fields["volume"] in spec.citation["bibcode"]


def test_an_archive_without_rows_is_not_acknowledged(tmp_path: Path) -> None:
    run = SmallRun(tmp_path)
    run.add_shard("allsky", {"a": (10.0, 20.0)})
    parts = [
        run.add_part("unwise", "allsky", []),
        run.add_part("ztf", "allsky", [lightcurve_row("a", "ztf")]),
    ]
    run.merge("allsky", parts)
    _, ledger_path = run.finish()
    specs = load_project(REPOSITORY, [], []).archives
    write_citations(
        ledger_path=ledger_path,
        archives=specs,
        bibtex_path=tmp_path / "citations.bib",
        text_path=tmp_path / "acknowledgements.txt",
    )
    entries, text = read_citations(tmp_path)
    assert set(parse_string(entries, "bibtex").entries) == {"lightloom", "2019PASP..131a8003M"}
    assert "Palomar" in text
    assert "unTimely" not in text + entries


def test_an_entry_without_a_paper_is_cited_by_its_bibcode() -> None:
    spec = load_project(REPOSITORY, [], []).archives["ztf"]
    bare = replace(spec, citation={"bibcode": "2020A&A...000A...1X", "acknowledgement": "x & y"})
    entries = parse_string(bibtex([bare]), "bibtex").entries
    assert entries["2020A&A...000A...1X"].type == "misc"
    assert "x & y" in acknowledgements([bare])


def test_a_run_without_citations_is_told_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ResultError, match="snakemake --cores all"):
        read_citations(tmp_path)
