"""Wrong input ends the run before anything is fetched, says what is wrong, and spoils nothing."""

from collections.abc import Callable

import pytest

from project import SAMPLE, Project

#: A token that must not show.
SECRET = "s3cret-of-the-test"


def unknown_archive(project: Project) -> None:
    archives = project.configuration["archives"] | {"zft": {"enabled": True}}
    project.configure(project.configuration | {"archives": archives})


def wrong_radius(project: Project) -> None:
    changed = project.configuration
    changed["archives"]["ztf"]["radius_arcsec"] = "1.5 arcsec"
    project.configure(changed)


def unknown_module(project: Project) -> None:
    catalogue = project.root / "config/archives.yaml"
    catalogue.write_text(catalogue.read_text().replace("module: unwise", "module: unwize"))


def missing_table(project: Project) -> None:
    (project.root / SAMPLE).unlink()


def bad_row(project: Project) -> None:
    table = project.root / SAMPLE
    table.write_text(table.read_text() + "here,12.5,north\n")


def half_read_table(project: Project) -> None:
    table = project.root / SAMPLE
    table.write_text(table.read_text()[:-12])


def missing_tokens(project: Project) -> None:
    """Two services that nobody may ask without a token: one is missing, one lies open."""
    (project.root / "token").write_text(SECRET)
    (project.root / "token").chmod(0o644)
    changed = project.configuration
    changed["archives"] |= {
        "rubin": {"enabled": True, "auth": {"token_env": "NO_SUCH_TOKEN"}},
        "nsc": {"enabled": True, "auth": {"token_file": "token"}},
    }
    project.configure(changed)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (unknown_archive, ["archives.zft", "ztf"]),
        (wrong_radius, ["archives.ztf.radius_arcsec", "1.5 arcsec"]),
        (unknown_module, ["unwise.module", "'unwize'"]),
        (missing_table, ["yang2018.csv"]),
        (bad_row, ["yang2018.csv", "dec", "'north'"]),
        (half_read_table, ["yang2018.csv"]),
        (
            missing_tokens,
            ["archives.rubin.auth", "NO_SUCH_TOKEN", "archives.nsc.auth", "mode 0644"],
        ),
    ],
)
def test_wrong_input_is_refused(
    project: Project, spoil: Callable[[Project], None], message: list[str]
) -> None:
    results = {path: path.stat().st_mtime_ns for path in project.path().rglob("*.parquet")}
    spoil(project)
    run = project.snakemake()
    assert run.returncode != 0
    for words in message:
        assert words in run.output
    assert "Traceback" not in run.output
    assert SECRET not in run.output
    assert not run.jobs
    assert {path: path.stat().st_mtime_ns for path in project.path().rglob("*.parquet")} == results


def test_a_dry_run_says_so_too(project: Project) -> None:
    missing_tokens(project)
    run = project.snakemake("--dry-run")
    assert run.returncode != 0
    assert "2 problems with tokens" in run.output
