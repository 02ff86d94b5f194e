"""BibTeX and acknowledgements for exactly the archives that gave rows, and for Lightloom."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lightloom import __version__
from lightloom.config import ArchiveSpec
from lightloom.errors import ResultError
from lightloom.manifest import count_states
from lightloom.storage import atomic_path

BIBTEX, ACKNOWLEDGEMENTS = "citations.bib", "acknowledgements.txt"

#: Characters with a meaning in BibTeX and TeX.
_ESCAPED = str.maketrans({character: f"\\{character}" for character in "&%$#_"})

_SOFTWARE = f"""@software{{lightloom,
  author = {{{{The Lightloom developers}}}},
  title = {{Lightloom: light curves of any sample from the public archives}},
  version = {{{__version__}}}
}}"""


def bibtex(archives: Iterable[ArchiveSpec]) -> str:
    """Return the BibTeX entries of archives, and that of Lightloom.

    Parameters
    ----------
    archives : iterable of ArchiveSpec
        Archives with the same paper share its entry. The key of an entry is the bibcode.
    """
    entries = {spec.citation["bibcode"]: _entry(spec) for spec in archives}
    return "\n\n".join([*(entries[bibcode] for bibcode in sorted(entries)), _SOFTWARE]) + "\n"


def _entry(spec: ArchiveSpec) -> str:
    bibcode: str = spec.citation["bibcode"]
    paper: dict[str, Any] | None = spec.citation.get("paper")
    address = f"https://ui.adsabs.harvard.edu/abs/{bibcode.replace('&', '%26')}"
    if paper is None:
        fields = {"title": spec.title, "note": f"cited by its bibcode, {bibcode}"}
        return _written("misc", bibcode, {**fields, "year": bibcode[:4]}, address)
    names = {"authors": "author", "page": "pages"}
    fields = {names.get(name, name): str(value) for name, value in paper.items()}
    # Titles keep their capitals.
    fields["title"] = f"{{{fields['title']}}}"
    return _written("article", bibcode, fields, address)


def _written(kind: str, key: str, fields: Mapping[str, str], address: str) -> str:
    lines = [f"  {name} = {{{_escaped(name, value)}}}" for name, value in fields.items()]
    return ",\n".join([f"@{kind}{{{key}", *lines, f"  adsurl = {{{address}}}\n}}"])


def _escaped(name: str, value: str) -> str:
    return value if name == "doi" else value.translate(_ESCAPED)


def acknowledgements(archives: Iterable[ArchiveSpec]) -> str:
    """Return the text to put into a paper, with the entries of `bibtex` as its citations."""
    specs = sorted(archives, key=lambda spec: spec.name)
    lines = [
        f"{spec.title} ({spec.release}; {spec.citation['bibcode']}):"
        f" {spec.citation['acknowledgement']}."
        for spec in specs
    ]
    opening = f"Light curves were collected with Lightloom {__version__}"
    return "\n".join([f"{opening} from:" if lines else f"{opening}.", *lines]) + "\n"


def write_citations(
    *, ledger_path: Path, archives: Mapping[str, ArchiveSpec], bibtex_path: Path, text_path: Path
) -> None:
    """Write BibTeX and acknowledgement of the archives that have rows in a ledger.

    Parameters
    ----------
    ledger_path : pathlib.Path
        The ledger (``LEDGER``).
    archives : mapping of str to ArchiveSpec
        Every archive of the catalogue.
    bibtex_path, text_path : pathlib.Path
        Files to write.
    """
    counted = count_states(ledger_path)
    used = [archives[name] for name, entry in sorted(counted.items()) if entry["rows"]]
    for path, text in ((bibtex_path, bibtex(used)), (text_path, acknowledgements(used))):
        with atomic_path(path) as temporary:
            temporary.write_text(text, encoding="utf-8")


def read_citations(results: Path) -> tuple[str, str]:
    """Return BibTeX and acknowledgement of a run.

    Raises
    ------
    ResultError
        If the run has not made them.
    """
    found = []
    for name in (BIBTEX, ACKNOWLEDGEMENTS):
        path = results / name
        if not path.exists():
            raise ResultError(
                f"{path}: not found, expected what a finished run writes; run"
                " `snakemake --cores all` to the end, or name its results folder"
            )
        found.append(path.read_text(encoding="utf-8"))
    return found[0], found[1]
