"""Options that only one module knows: checked against the schema that lies beside the others.

A module's options have a schema of its name in config/schemas/modules. What a schema cannot
say is left to the function that its key ``check`` names, as ``module:function``. Imported whenever
the Snakefile is read, so nothing heavy may be imported.
"""

import importlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from lightloom.config_checks import merge_copies
from lightloom.config_schema import SCHEMAS, KeyPath, Problem, find_problems, load_schema

#: Takes a catalogue entry with the options of the user; yields the path and text of each problem.
Check = Callable[[Mapping[str, Any]], Iterable[tuple[KeyPath, str]]]


def check_module_options(config: dict[str, Any], problems: list[Problem]) -> list[Problem]:
    """Check the options of every archive's module and fill in their defaults.

    Parameters
    ----------
    config : dict
        The configuration with all other defaults; the defaults of the options are added to its
        catalogue.
    problems : list of Problem
        What is wrong already; nothing is checked below a wrong key.

    Returns
    -------
    list of Problem
        Further problems, at the user's own key where the user gave the option.
    """
    if problems:
        return []
    found: list[Problem] = []
    for name, entry in config["catalogue"].items():
        given = config["archives"].get(name, {})
        options = entry["options"] | given.get("options", {})
        wrong = _check_options(entry["module"], options)
        if not wrong and given.get("enabled") and (check := _own_check(entry["module"])):
            merged = {
                "options": options,
                "copies": merge_copies(entry["copies"], given.get("copies", {})),
            }
            wrong = list(check(entry | _without_enabled(given) | merged))
        found += [Problem(_place(name, path, given), text) for path, text in wrong]
        entry["options"] = options
        # What the user gave is part of the entry now, with its defaults.
        given.pop("options", None)
    return found


def _without_enabled(given: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in given.items() if key != "enabled"}


def _place(name: str, path: KeyPath, given: Mapping[str, Any]) -> KeyPath:
    return ("archives" if path[0] in given else "catalogue", name, *path)


def _schema_path(module: str) -> Path:
    return SCHEMAS / "modules" / f"{module}.schema.yaml"


def _check_options(module: str, options: dict[str, Any]) -> list[tuple[KeyPath, str]]:
    if not _schema_path(module).exists():
        if "." in module:
            return []
        return [
            (("options", key), f"unknown key, the module {module} has no options")
            for key in options
        ]
    schema = load_schema(f"modules/{module}.schema.yaml")
    return [
        (("options", *problem.path), problem.text) for problem in find_problems(options, schema)
    ]


def _own_check(module: str) -> Check | None:
    if not _schema_path(module).exists():
        return None
    target = load_schema(f"modules/{module}.schema.yaml").get("check")
    if target is None:
        return None
    module_name, _, function = target.partition(":")
    check: Check = getattr(importlib.import_module(module_name), function)
    return check
