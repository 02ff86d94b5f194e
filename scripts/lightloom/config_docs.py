"""The tables of keys in config/README.md, made from the schemas.

``lightloom config-docs`` writes them anew after a change of a schema.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from lightloom.config_schema import SCHEMAS, expected_value, load_schema

#: The manual that holds the tables.
MANUAL = SCHEMAS.parent / "README.md"

_BLOCK = re.compile(r"(<!-- keys of ([\w ]+) -->\n).*?(<!-- end of keys -->)", re.DOTALL)

_FILES = {"config": "config.schema.yaml", "catalogue": "archives.schema.yaml"}


def key_table(section: str) -> str:
    """Return a Markdown table of all keys.

    Parameters
    ----------
    section : str
        ``config`` (the user's configuration), ``catalogue`` (that of archives) or ``module`` with
        the name of a module (its options).

    Returns
    -------
    str
        One line per key: its path, its values, its default, its meaning.
    """
    module = section.removeprefix("module ")
    name = _FILES[section] if module == section else f"modules/{module}.schema.yaml"
    lines = ["| key | value | default | meaning |", "|---|---|---|---|"]
    lines += _lines(load_schema(name), name, "")
    return "\n".join(lines)


def update_manual(text: str) -> str:
    """Return the text of the manual with its tables made anew."""
    return _BLOCK.sub(lambda block: f"{block[1]}{key_table(block[2])}\n{block[3]}", text)


def _lines(schema: Mapping[str, Any], file: str, prefix: str) -> Iterator[str]:
    """Yield a line for each key below a mapping."""
    for name, value in schema["properties"].items():
        if value.get("$ref", "").endswith("/catalogue") and file == "config.schema.yaml":
            continue
        subschema, subfile = _resolved(value, file)
        path = f"{prefix}{name}"
        if "properties" not in subschema or "description" in subschema:
            default = "required" if name in schema.get("required", ()) else "–"
            if "default" in subschema:
                default = f"`{json.dumps(subschema['default'])}`"
            values = expected_value(subschema) or f"`{subschema['const']}`"
            yield f"| `{path}` | {values} | {default} | {subschema.get('description', '')} |"
        yield from _lines_below(subschema, subfile, path)


def _lines_below(schema: Mapping[str, Any], file: str, path: str) -> Iterator[str]:
    if "properties" in schema:
        yield from _lines(schema, file, f"{path}.")
    if "additionalProperties" in schema and isinstance(schema["additionalProperties"], dict):
        entry, entry_file = _resolved(schema["additionalProperties"], file)
        if "properties" in entry:
            yield from _lines(entry, entry_file, f"{path}.<name>.")
    items, items_file = _resolved(schema.get("items", {}), file)
    if "properties" in items and "allOf" not in items:
        yield from _lines(items, items_file, f"{path}[].")
    # Several kinds have the same keys; a key is listed once for each of its meanings.
    lines: dict[str, None] = {}
    for kind in items.get("allOf", ()):
        item, item_file = _resolved(kind["then"], items_file)
        lines |= dict.fromkeys(_lines(item, item_file, f"{path}[]."))
    yield from lines


def _resolved(schema: Mapping[str, Any], file: str) -> tuple[Mapping[str, Any], str]:
    """Return a schema with its reference replaced by what it refers to, and the file of that."""
    if "$ref" not in schema:
        return schema, file
    target, _, pointer = schema["$ref"].partition("#")
    file = target or file
    found: Mapping[str, Any] = load_schema(file)
    for key in pointer.strip("/").split("/"):
        found = found[key]
    resolved, file = _resolved(found, file)
    merged = {**resolved, **{key: value for key, value in schema.items() if key != "$ref"}}
    if "properties" in resolved:
        own = schema.get("properties", {})
        merged["properties"] = {
            name: value | own.get(name, {}) for name, value in resolved["properties"].items()
        }
    return merged, file
