"""Tokens are found where the entry says, and only if nobody else can read them."""

from dataclasses import replace
from pathlib import Path

import pytest

from lightloom.errors import AuthenticationError, ConfigError
from lightloom.services.credentials import check_tokens, read_token
from small_server import counter_spec

BOTH = {"token_env": "SURVEY_TOKEN", "token_file": "token"}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SURVEY_TOKEN", raising=False)
    return tmp_path


def write(path: Path, text: str, mode: int = 0o600) -> None:
    path.write_text(text)
    path.chmod(mode)


def test_no_token_is_asked_for() -> None:
    assert read_token("survey", {}) is None


def test_environment_comes_first(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder / "token", "of-the-file")
    assert read_token("survey", BOTH).header == "Bearer of-the-file"
    monkeypatch.setenv("SURVEY_TOKEN", " of-the-environment\n")
    assert read_token("survey", BOTH).header == "Bearer of-the-environment"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666, 0o620])
def test_a_file_for_others_is_refused(folder: Path, mode: int) -> None:
    write(folder / "token", "s3cret", mode)
    expected = rf"archives.survey.auth.token_file: token has mode {mode:04o}, expected 0600"
    with pytest.raises(AuthenticationError, match=expected):
        read_token("survey", BOTH)


def test_missing_and_wrong_tokens_are_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places = "in environment variable SURVEY_TOKEN and file token, expected the token"
    with pytest.raises(AuthenticationError, match=f"survey.auth: found nothing {places}"):
        read_token("survey", BOTH)
    with pytest.raises(AuthenticationError, match="found nothing in file token"):
        read_token("survey", {"token_file": "token"})
    for text in ("two words", "two\nlines", "bell\a", "ümlaut"):
        monkeypatch.setenv("SURVEY_TOKEN", text)
        with pytest.raises(AuthenticationError, match=f"a value with blanks .* {places}") as error:
            read_token("survey", BOTH)
        assert text not in str(error.value)


def test_a_file_that_is_no_text_is_no_token(folder: Path) -> None:
    (folder / "token").write_bytes(b"\xff\xfes3cret")
    (folder / "token").chmod(0o600)
    with pytest.raises(AuthenticationError, match="a value with blanks or other") as error:
        read_token("survey", BOTH)
    assert "s3cret" not in str(error.value)


def test_all_tokens_are_checked_at_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = counter_spec("https://tap.example.org")
    write(folder / "open", "s3cret", 0o644)
    monkeypatch.setenv("SURVEY_TOKEN", "t0ken")
    archives = [
        replace(entry, name=name, auth=auth)
        for name, auth in {
            "free": {},
            "good": BOTH,
            "lost": {"token_env": "NO_SUCH_TOKEN"},
            "open": {"token_file": "open"},
        }.items()
    ]
    check_tokens(archives[:2])
    with pytest.raises(ConfigError) as error:
        check_tokens(archives)
    summary, *problems = str(error.value).splitlines()
    assert summary == "2 problems with tokens:"
    assert "archives.lost.auth: found nothing in environment variable NO_SUCH_TOKEN" in problems[0]
    assert "archives.open.auth.token_file: open has mode 0644, expected 0600" in problems[1]
    assert "s3cret" not in str(error.value)


def test_a_token_does_not_show_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SURVEY_TOKEN", "s3cret")
    token = read_token("survey", BOTH)
    assert "s3cret" not in f"{token} {token!r} {[token]}"
    assert token.redact("you sent s3cret") == "you sent ***"
