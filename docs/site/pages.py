"""Hooks of MkDocs: pages that are made from the repository, and links that lead out of the folder.

MkDocs calls ``on_files`` and ``on_page_markdown`` (https://www.mkdocs.org/user-guide/configuration/#hooks).
"""

import re
from pathlib import Path
from typing import Any

import jupytext
import pyarrow as pa
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from typer.main import get_command

from lightloom import schema
from lightloom.cli import app

_REPOSITORY = Path(__file__).parents[2]

#: Pages from elsewhere in the repository, by their place in the site.
_OUTSIDE = {
    "index.md": "README.md",
    "configuration.md": "config/README.md",
    "changelog.md": "CHANGELOG.md",
}

#: Tables with a page of their columns.
_TABLES = {
    "LIGHTCURVE": "Light curves: `lightcurves/<shard>.parquet`",
    "LEDGER": "The ledger: `ledger.parquet`",
    "SAMPLE": "The sample: `sample/sample.parquet`",
    "SHARD": "The targets of a shard: `shards/<shard>.parquet`",
}

#: Modules whose functions are for users.
_MODULES = (
    "read",
    "schema",
    "units",
    "times",
    "motion",
    "citations",
    "forecast",
    "archives.base",
    "errors",
)

_LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made from the repository."""
    made = {place: (_REPOSITORY / source).read_text() for place, source in _OUTSIDE.items()}
    for path in sorted((_REPOSITORY / "docs" / "notebooks").glob("*.py")):
        made[f"notebooks/{path.stem}.md"] = _notebook(path)
    made["reference/commands.md"] = _commands()
    made["reference/tables.md"] = _tables()
    made["reference/python.md"] = _python()
    for place, text in made.items():
        files.append(File.generated(config, place, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links lead to the pages of the site; of a file that is no page the text stays."""
    source = _OUTSIDE.get(page.file.src_uri, f"docs/{page.file.src_uri}")
    folder = (_REPOSITORY / source).parent
    places = {_REPOSITORY / path: place for place, path in _OUTSIDE.items()}
    depth = page.file.src_uri.count("/")

    def moved(match: re.Match[str]) -> str:
        target = (folder / match[1]).resolve()
        inside = target.is_relative_to(_REPOSITORY / "docs") and target.exists()
        place = places.get(target) or (
            target.relative_to(_REPOSITORY / "docs").as_posix() if inside else None
        )
        if place is None or files.get_file_from_path(place) is None:
            return "]"
        return f"]({'../' * depth}{place}{match[2] or ''})"

    text = _LINK.sub(moved, markdown)
    # A bracket without a link is a text again; images of the README are shown by their tag.
    text = re.sub(r"\[([^\[\]]+)\](?![(\[:])", r"\1", text) if "]" in text else text
    return text.replace('src="docs/images/', 'src="images/')


def _notebook(path: Path) -> str:
    """Return a notebook as a page, without its outputs."""
    notebook = jupytext.read(path)
    notebook.metadata.clear()
    text = jupytext.writes(notebook, "md")
    return re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL).lstrip()


def _commands() -> str:
    """Return the help of every command."""
    lines = ["# Commands", "", "What `lightloom <command> --help` says.", ""]
    group: Any = get_command(app)
    for name, command in sorted(group.commands.items()):
        if command.hidden:
            continue
        lines += [f"## lightloom {name}", "", command.help or "", ""]
        lines += ["| | default | |", "|---|---|---|"]
        for parameter in command.params:
            is_option = parameter.param_type_name == "option"
            spelt = ", ".join(parameter.opts) if is_option else str(parameter.name).upper()
            shown = parameter.default not in (None, (), False)
            default = f"`{parameter.default}`" if shown else ""
            meaning = str(getattr(parameter, "help", "") or "").replace("|", "\\|")
            lines.append(f"| `{spelt}` | {default} | {meaning} |")
        lines.append("")
    return "\n".join(lines)


def _tables() -> str:
    """Return the columns of every table, from their schemas."""
    lines = ["# Tables", "", "Columns, units and UCDs, as in the metadata of the files.", ""]
    for name, title in _TABLES.items():
        lines += [
            f"## {title}",
            "",
            "| column | type | unit | UCD | meaning |",
            "|---|---|---|---|---|",
        ]
        lines += [_column(field) for field in getattr(schema, name)]
        lines.append("")
    return "\n".join(lines)


def _column(field: pa.Field) -> str:
    facts = {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
    texts = (facts.get(key, "") for key in ("unit", "ucd", "description"))
    return " | ".join([f"| `{field.name}`", f"{field.type}", *texts, ""]).rstrip()


def _python() -> str:
    """Return a page that mkdocstrings fills from the docstrings."""
    modules = "\n\n".join(f"::: lightloom.{name}" for name in _MODULES)
    return f"# Python\n\n{modules}\n"
