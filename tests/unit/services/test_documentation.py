"""docs/services.md says what the limits are."""

import re
from pathlib import Path

from lightloom.config_schema import load_schema

PAGE = Path(__file__).parents[3] / "docs" / "services.md"


def test_limits_and_their_defaults() -> None:
    text = PAGE.read_text()
    told = {}
    for names, values in re.findall(r"^\| (`[^|]+) \| ([\d., ]+) \|", text, re.MULTILINE):
        told |= dict(zip(re.findall(r"`(\w+)`", names), values.split(", "), strict=True))
    limits = load_schema("archives.schema.yaml")["$defs"]["entry"]["properties"]["limits"]
    assert told == {name: str(key["default"]) for name, key in limits["properties"].items()}
