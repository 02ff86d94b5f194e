"""Checks of the configuration against its closed schema, with messages for the person who wrote it.

The schemas (config/schemas, JSON Schema 2020-12) hold every key's type, range, default and meaning;
here they fill in the defaults and turn each violation into one line that names the key, what was
found and what was expected. Imported whenever the Snakefile is read, so nothing heavy may be
imported.
"""

import copy
import functools
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator, TypeChecker, ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import extend
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from lightloom.config_secrets import PASSWORD
from lightloom.suggest import did_you_mean

#: Folder of the schemas.
SCHEMAS = Path(__file__).parents[2] / "config" / "schemas"

KeyPath = tuple[str | int, ...]

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


@dataclass(frozen=True)
class Problem:
    """One wrong key.

    Attributes
    ----------
    path : tuple of str or int
        Keys and list positions down to the wrong value.
    text : str
        What was found and what was expected.
    """

    path: KeyPath
    text: str

    @property
    def sort_key(self) -> list[tuple[int, str]]:
        """Key that sorts problems by their path."""
        return [(part, "") if isinstance(part, int) else (0, str(part)) for part in self.path]

    def __str__(self) -> str:
        key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in self.path)
        return f"{key.removeprefix('.')}: {self.text}"


@functools.cache
def load_schema(name: str) -> dict[str, Any]:
    """Read a schema of config/schemas."""
    with (SCHEMAS / name).open(encoding="utf-8") as file:
        schema: dict[str, Any] = yaml.load(file, Loader=yaml.CSafeLoader)
    return schema


def check(config: Mapping[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """Check a configuration against its schema and fill in the defaults.

    Parameters
    ----------
    config : mapping
        The configuration as parsed from YAML; it stays as it is.

    Returns
    -------
    filled : dict
        A copy of the configuration with all defaults.
    problems : list of Problem
        Everything that is wrong; at most one problem per key.
    """
    filled = copy.deepcopy(dict(config))
    return filled, find_problems(filled, load_schema("config.schema.yaml"))


def find_problems(section: dict[str, Any], schema: Mapping[str, Any]) -> list[Problem]:
    """Check a section of the configuration against a schema and fill in the defaults.

    Parameters
    ----------
    section : dict
        The section; missing keys get the defaults of the schema.
    schema : mapping
        Its schema.

    Returns
    -------
    list of Problem
        Everything that is wrong; at most one problem per key.
    """
    validator = _DefaultsValidator(
        schema,
        registry=Registry(retrieve=_retrieve_schema),  # type: ignore[call-arg]
    )
    found: dict[KeyPath, str] = {}
    for error in validator.iter_errors(section):
        for path, text in _explain(error):
            found.setdefault(path, text)
    return [Problem(path, text) for path, text in found.items()]


def expected_value(schema: Mapping[str, Any]) -> str:
    """Return in words which values a schema takes.

    Parameters
    ----------
    schema : mapping
        The schema of one key, with references resolved.

    Returns
    -------
    str
        Such as ``a number above 0 and at most 3600``.
    """
    if "enum" in schema:
        words = ("null" if value is None else str(value) for value in schema["enum"])
        return f"one of {', '.join(words)}"
    return " or ".join(_expected_of_type(type_, schema) for type_ in _types(schema))


def _retrieve_schema(uri: str) -> Any:
    """Return the resource of a schema that another one refers to by its file name."""
    return DRAFT202012.create_resource(load_schema(uri))


def _is_integer(_: TypeChecker, value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_finite_number(checker: TypeChecker, value: object) -> bool:
    return _is_integer(checker, value) or (isinstance(value, float) and math.isfinite(value))


def _properties_with_defaults(
    validator: Any, properties: Mapping[str, Any], instance: Any, schema: Mapping[str, Any]
) -> Iterator[ValidationError]:
    if isinstance(instance, dict):
        for name, subschema in properties.items():
            if "default" in subschema:
                instance.setdefault(name, copy.deepcopy(subschema["default"]))
    yield from Draft202012Validator.VALIDATORS["properties"](
        validator, properties, instance, schema
    )


_DefaultsValidator: type[Validator] = extend(
    Draft202012Validator,
    validators={"properties": _properties_with_defaults},
    # JSON Schema counts 1.0 as an integer, and YAML has numbers that are not finite.
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine_many(
        {"integer": _is_integer, "number": _is_finite_number}
    ),
)


def _explain(error: ValidationError) -> Iterator[tuple[KeyPath, str]]:
    """Yield the key path and the message of each wrong key behind a schema violation."""
    path: KeyPath = tuple(error.absolute_path)
    schema: Any = error.schema
    value: Any = error.instance
    if error.validator == "additionalProperties":
        valid = schema["properties"]
        for key in value:
            if key not in valid:
                expected = ", ".join(sorted(valid))
                yield (*path, key), f"unknown key{did_you_mean(key, valid)} (expected: {expected})"
    elif error.validator == "required":
        for key in schema["required"]:
            if key not in value:
                keys = ", ".join(map(str, value)) or "none"
                yield (*path, key), f"missing, found only the keys: {keys}"
    elif "propertyNames" in error.absolute_schema_path:
        text = f"found the name {_found(value)}, expected {expected_value(schema)}"
        yield (*path, value), text + _quotes(value, {"string"})
    else:
        text = f"found {_found(value)}, expected {expected_value(schema)}"
        yield path, text + _hint(value, schema, path)


def _found(value: Any) -> str:
    match value:
        case None:
            return "nothing"
        case bool():
            return str(value).lower()
        case str():
            return repr(PASSWORD.sub("***", value))
        case int() | float():
            return repr(value)
        case dict():
            return "a mapping" if value else "an empty mapping"
        case list():
            return f"a list of {len(value)}"
        case _:
            return f"{value} (a {type(value).__name__})"


def _types(schema: Mapping[str, Any]) -> list[str]:
    types = schema.get("type", [])
    return [types] if isinstance(types, str) else types


def _expected_of_type(type_: str, schema: Mapping[str, Any]) -> str:
    if type_ in ("boolean", "null"):
        return {"boolean": "true or false", "null": "null"}[type_]
    if type_ in ("number", "integer"):
        words = {"exclusiveMinimum": "above", "minimum": "at least", "maximum": "at most"}
        limits = [f"{word} {schema[key]}" for key, word in words.items() if key in schema]
        noun = "a number" if type_ == "number" else "a whole number"
        return " ".join([noun, " and ".join(limits)]).rstrip()
    if type_ == "string":
        examples = " or ".join(map(repr, schema.get("examples", [])))
        if examples:
            return f"text such as {examples}"
        exact = schema.get("minLength", 0) > 1
        return f"text of {schema['minLength']} characters" if exact else "text"
    if type_ == "array":
        if "maxItems" in schema:
            return f"a list of {schema['maxItems']}"
        if "minItems" in schema:
            return f"a list of at least {schema['minItems']}"
        return "a list without repeats" if schema.get("uniqueItems") else "a list"
    at_least = schema.get("minProperties", 0)
    return f"a mapping of at least {at_least}" if at_least else "a mapping"


def _quotes(value: Any, types: Iterable[str]) -> str:
    writable = not isinstance(value, str | dict | list) and value is not None
    return " (write it in quotes)" if "string" in types and writable else ""


def _hint(value: Any, schema: Mapping[str, Any], path: KeyPath) -> str:
    types = set(_types(schema))
    if not isinstance(value, str):
        return "" if "number" in types else _quotes(value, types)
    boolean = "boolean" in types and value.casefold() in ("true", "false")
    if boolean and len(path) == 1:
        return f" (on the command line write --config {path[0]}={value.capitalize()})"
    if boolean or (types & {"number", "integer"} and _NUMBER.fullmatch(value)):
        return " (write it without quotes, in a file: values nested in --config arrive as text)"
    return ""
