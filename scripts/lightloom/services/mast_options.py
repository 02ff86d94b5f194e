"""What the schema of an entry of mast_lightcurve cannot say.

Imported whenever the Snakefile is read, so nothing heavy may be imported here.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

KeyPath = tuple[str | int, ...]


def check_entry(entry: Mapping[str, Any]) -> Iterator[tuple[KeyPath, str]]:
    """Yield what is wrong with the options and copies of an entry, as path and text."""
    options = entry["options"]
    patterns: dict[KeyPath, tuple[str, int]] = {
        ("object_id", "pattern"): (options["object_id"]["pattern"], 1),
        ("field", "pattern"): (options["field"]["pattern"], 1),
    }
    if options["id_pattern"]:
        patterns["id_pattern",] = options["id_pattern"], 1
    for number, choice in enumerate(options["choice"]):
        patterns["choice", number, "file"] = choice["file"], 0
    for path, (pattern, n_groups) in patterns.items():
        yield from _check_pattern(("options", *path), pattern, n_groups)
    for name, copy in entry["copies"].items():
        for number, rule in enumerate(copy.get("paths", [])):
            groups = map(int, re.findall(r"\\(\d+)", rule["path"]))
            path = ("copies", name, "paths", number, "uri")
            yield from _check_pattern(path, rule["uri"], max(groups, default=0))
    for name in ("object_id", "field"):
        yield from _check_form(("options", name, "name"), options[name]["name"])
    for number, form in enumerate(options["target_names"]):
        yield from _check_form(("options", "target_names", number), form)


def _check_pattern(path: KeyPath, pattern: str, n_groups: int) -> Iterator[tuple[KeyPath, str]]:
    try:
        found = re.compile(pattern).groups
    except re.error as error:
        yield path, f"{pattern!r} is no regular expression: {error}"
        return
    if found < n_groups:
        yield path, f"{pattern!r} has {found} groups, expected {n_groups}"


def _check_form(path: KeyPath, form: str) -> Iterator[tuple[KeyPath, str]]:
    try:
        form.format(1)
    except (ValueError, IndexError, KeyError) as error:
        yield path, f"{form!r} is no form of a number: {error!r}"
