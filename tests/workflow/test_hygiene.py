"""The workflow keeps the rules of the house."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from project import REPOSITORY

RULE = re.compile(r"^( *)rule *(\w*):\n((?:\1 +.*\n|\n)+)", re.MULTILINE)


def rules() -> list[tuple[str, str]]:
    files = [REPOSITORY / "Snakefile", *sorted((REPOSITORY / "rules").glob("*.smk"))]
    return [
        (match[2] or f"template in {path.name}", match[3])
        for path in files
        for match in RULE.finditer(path.read_text())
    ]


def test_snakemake_finds_nothing_to_criticise() -> None:
    lint = subprocess.run(
        [sys.executable, "-m", "snakemake", "--lint"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert lint.returncode == 0, lint.stdout + lint.stderr


@pytest.mark.parametrize(("name", "text"), rules())
def test_every_rule_is_documented_and_logged(name: str, text: str) -> None:
    assert text.lstrip().startswith('"""'), name
    if "localrule: True" not in text:
        for directive in ("log:", "benchmark:", "conda:", "threads:", "resources:", "script:"):
            assert directive in text, (name, directive)


def test_files_stay_small() -> None:
    assert len((REPOSITORY / "Snakefile").read_text().splitlines()) <= 60
    for path in (REPOSITORY / "scripts").glob("*.py"):
        assert len(path.read_text().splitlines()) <= 40, path
    for path in (REPOSITORY / "rules").glob("*.smk"):
        defines = "def " in path.read_text()
        assert defines == (path.name == "common.smk"), path


def locked_versions() -> dict[str, set[str]]:
    versions: dict[str, set[str]] = {}
    for line in (REPOSITORY / "envs/requirements.lock").read_text().splitlines():
        pin = re.match(r"^([\w.-]+)==([^ ;\\]+)", line)
        if pin:
            versions.setdefault(pin[1], set()).add(pin[2])
    return versions


@pytest.mark.parametrize("path", sorted((REPOSITORY / "envs").glob("*.yaml")), ids=lambda p: p.name)
def test_conda_pins_agree_with_the_lock_file(path: Path) -> None:
    locked = locked_versions()
    for pin in yaml.safe_load(path.read_text())["dependencies"]:
        name, _, version = pin.partition("=")
        if name != "python":
            # The plotting library without its Qt window is another package there.
            assert version in locked[name.removesuffix("-base")], pin


@pytest.mark.parametrize("name", ["requirements", "lightkurve", "hats-import"])
def test_the_lock_file_has_hashes_and_no_address(name: str) -> None:
    text = (REPOSITORY / f"envs/{name}.lock").read_text()
    assert "://" not in text
    pins = re.findall(r"^[\w.-]+==", text, re.MULTILINE)
    assert len(pins) > 50
    assert len(re.findall(r"^[\w.-]+==[^\n]*\\\n +--hash=sha256:", text, re.MULTILINE)) == len(pins)


def pip_options(text: str) -> list[set[str]]:
    """Options of the calls of pip, without those that change nothing of what is installed."""
    calls = re.findall(r"-m pip install ([^&\n]+)", text)
    harmless = {"--quiet", "--no-cache-dir", "--no-compile"}
    return [set(call.split()) - harmless for call in calls]


def test_the_image_is_made_of_what_is_here() -> None:
    text = (REPOSITORY / "envs/Containerfile").read_text()
    joined = re.sub(r"\\\n\s*", "", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE))
    steps = [line.split(maxsplit=1) for line in joined.splitlines() if line]
    assert steps[0][0] == "FROM"
    assert {name for name, _ in steps} <= {"FROM", "WORKDIR", "COPY", "RUN", "ENTRYPOINT", "CMD"}
    for name, value in steps:
        if name == "COPY":
            *sources, _ = value.split()
            assert all((REPOSITORY / source).exists() for source in sources), value
        if name in ("ENTRYPOINT", "CMD"):
            assert all(isinstance(word, str) for word in json.loads(value))
    # It is made by the commands that make the environment of the tests.
    ours = pip_options(
        re.sub(r"^.*\$\*.*\n", "", (REPOSITORY / "Makefile").read_text(), flags=re.MULTILINE)
    )
    assert pip_options(joined) == ours
    (python,) = re.findall(r"/python:(\d+\.\d+)-", steps[0][1])
    for path in (REPOSITORY / "envs").glob("*.yaml"):
        assert f"python={python}" in yaml.safe_load(path.read_text())["dependencies"]


#: What makes code of data.
MAKES_CODE = re.compile(
    r"\b(?:pickle|cPickle|dill|marshal|shelve|joblib)\b(?!\s*\.?Error)|(?<![.\w])(?:eval|exec)\("
    r"|allow_pickle=True|os\.system\(|shell=True|yaml\.(?:unsafe_load|full_load)\(|!!python"
)

#: What unpacks files without an end to their size.
UNPACKS = re.compile(
    r"\bgzip\.(?:open|decompress|GzipFile)|\b(?:bz2|lzma)\.|\bzlib\.decompress|\btarfile\b|\bnp\.load\("
    r"|\bZipFile\([^\n]*\)\.(?:open|read|extract)|\.extractall\("
)


@pytest.mark.parametrize(
    "path",
    [
        *sorted((REPOSITORY / "scripts").rglob("*.py")),
        *sorted((REPOSITORY / "rules").glob("*.smk")),
        REPOSITORY / "Snakefile",
    ],
    ids=lambda path: path.relative_to(REPOSITORY).as_posix(),
)
def test_data_are_never_made_into_code(path: Path) -> None:
    assert not MAKES_CODE.findall(path.read_text())
    if path.name != "unpacking.py":
        assert not UNPACKS.findall(path.read_text())
    # A safe loader, or one that is made of it.
    for loader in re.findall(r"yaml\.load\([^)]*Loader=([\w.]+)", path.read_text()):
        assert loader in ("yaml.CSafeLoader", "yaml.SafeLoader", "_ColumnsLoader"), loader
