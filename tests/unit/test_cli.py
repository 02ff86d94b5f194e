"""Every command explains itself, with an example, and fails with a message alone."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from lightloom.cli import app

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


@pytest.mark.parametrize(
    "arguments",
    [
        ["summary", "nowhere"],
        ["status", "nowhere"],
        ["why", "x", "--results", "nowhere"],
        ["cite", "nowhere"],
        ["crate", "nowhere"],
        ["crate", "nowhere", "--author", "A. Name"],
        ["plan", "--configfile", "nowhere.yaml"],
        ["watch", "nowhere"],
    ],
    ids=lambda arguments: " ".join(arguments[:1]),
)
def test_errors_say_what_to_do_and_show_no_traceback(arguments: list[str], tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "lightloom.cli", *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert ended.stderr.startswith("lightloom: ")
    advice = r"run `|run it|start |name |add |make |make it|write "
    assert re.search(advice, ended.stderr), ended.stderr
