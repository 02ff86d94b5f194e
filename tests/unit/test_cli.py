"""Every command explains itself, with an example, and fails with a message alone."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from lightloom.cli import app, main
from small_run import SmallRun
from written_results import write_results

_ROOT: Any = get_command(app)


def commands(group: Any = _ROOT, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    """Every command, with those of groups."""
    found = []
    for name, command in sorted(group.commands.items()):
        if hasattr(command, "commands"):
            found += commands(command, (*path, name))
        else:
            found.append(((*path, name), command))
    return found


@pytest.mark.parametrize(("path", "command"), commands(), ids=lambda value: str(value)[:40])
def test_every_command_has_help_with_an_example(path: tuple[str, ...], command: Any) -> None:
    shown = CliRunner().invoke(app, [*path, "--help"])
    assert shown.exit_code == 0, shown.output
    example = re.search(r"Example: `lightloom ([^`]+)`", command.help or "")
    assert example, path
    assert example[1].startswith(" ".join(path))
    for option in re.findall(r"--[a-z][\w-]*", example[1].partition(" -- ")[0]):
        known = {name for parameter in command.params for name in parameter.opts}
        # An option of the command that an example quotes is not one of ours.
        assert option in known or f'"{option}' in example[1] or option == "--cores", option
    for parameter in command.params:
        assert getattr(parameter, "help", None), (path, parameter.name)


#: Wrong uses, and what the message names.
WRONG = [
    (["summary", "nowhere"], "nowhere/manifest.json"),
    (["status", "nowhere"], "nowhere/run.json"),
    (["why", "x", "--results", "nowhere"], "nowhere/run.json"),
    (["why", "x", "nan", "--results", "nowhere"], "nan"),
    (["cite", "nowhere"], "nowhere/citations.bib"),
    (["crate", "nowhere"], "nowhere/manifest.json"),
    (["crate", "nowhere", "--author", "A. Name"], "--orcid"),
    (["crate", "nowhere", "--author", "A. Name", "--orcid", "0000-1"], "0000-1"),
    (["diff", "nowhere", "elsewhere"], "nowhere/run.json"),
    (["export", "x.fits", "--results", "nowhere"], "nowhere/run.json"),
    (["plan", "--configfile", "nowhere.yaml"], "config/archives.yaml"),
    (["plan", "--directory", "nowhere"], "nowhere"),
    (["freeze", "--directory", "."], "config/archives.yaml"),
    (["watch", "nowhere"], "nowhere"),
    (["submit", "all", "--results", "file/results"], "file/results"),
    (["submitted", "--results", "nowhere"], "nowhere/.submitted.json"),
    (["cancel", "--results", "nowhere"], "nowhere/.submitted.json"),
    (["cluster", "start", "--folder", "file/cluster"], "file/cluster"),
    (["cluster", "status", "--folder", "nowhere"], "nowhere"),
    (["cluster", "stop", "--folder", "nowhere"], "nowhere"),
]
ADVICE = r"run `|run it|start |starts |name |add |make |make it|write "


@pytest.mark.parametrize(("arguments", "named"), WRONG, ids=lambda value: str(value)[:40])
def test_errors_name_the_thing_and_say_what_to_do(
    arguments: list[str],
    named: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["lightloom", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    # As diff of POSIX, it ends with 1 if there are differences.
    assert ended.value.code == (2 if arguments[0] == "diff" else 1)
    message = capsys.readouterr().err
    assert message.startswith("lightloom: ")
    assert named in message
    assert re.search(ADVICE, message), message


def test_every_command_is_used_wrongly() -> None:
    tried = {
        path for path, _ in commands() for wrong, _ in WRONG if tuple(wrong[: len(path)]) == path
    }
    # It takes no argument, and writes into the repository.
    assert {path for path, _ in commands()} - tried == {("config-docs",)}


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["curves.fitz"], ".fitz"),
        (["curves.fits", "--view", "claen"], "did you mean 'clean'"),
        (["curves.fits", "--archive", "zft"], "did you mean 'ztf'"),
        (["curves.fits", "--objectid", "NGC 1069"], "did you mean 'NGC 1068'"),
        (["curves.fits", "--format", "csv"], "csv"),
        (["nofile/deep/curves.fits"], "nofile/deep"),
        (["results", "--format", "fits"], "results"),
        (["results", "--format", "hats"], "results"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_wrong_export_is_refused(
    arguments: list[str],
    named: str,
    small_run: SmallRun,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    results = write_results(small_run)
    (results.parent / "nofile").write_text("no folder")
    monkeypatch.chdir(results.parent)
    monkeypatch.setattr(sys, "argv", ["lightloom", "export", *arguments, "--results", results.name])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert named in capsys.readouterr().err


def test_the_command_ends_without_a_traceback(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "lightloom.cli", "summary", "nowhere"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith("lightloom: ")
    assert "Traceback" not in ended.stderr
