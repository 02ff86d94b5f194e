"""The profiles can be read, name every archive, and agree with each other."""

from pathlib import Path

import pytest
import yaml
from snakemake.cli import get_argument_parser
from snakemake_executor_plugin_cluster_generic import ExecutorSettings as GenericSettings
from snakemake_executor_plugin_slurm import ExecutorSettings as SlurmSettings

from project import REPOSITORY

PROFILES = {path.parent.name: path for path in (REPOSITORY / "profiles").glob("*/profile*.yaml")}
COMMON = ("scheduler", "scheduler-subsample", "rerun-incomplete", "keep-going", "rerun-triggers")


def read(name: str) -> dict:
    return yaml.safe_load(PROFILES[name].read_text())


def options() -> set[str]:
    """Options that Snakemake and the executors in the lock file know."""
    own = {text.lstrip("-") for text in get_argument_parser()._option_string_actions}
    for prefix, settings in (("slurm", SlurmSettings), ("cluster-generic", GenericSettings)):
        fields = settings.__dataclass_fields__
        own |= {f"{prefix}-{name.replace('_', '-')}" for name in fields}
    return own


@pytest.mark.parametrize("name", PROFILES)
def test_every_flag_is_one_of_snakemake(name: str) -> None:
    assert set(read(name)) - options() == set()


@pytest.mark.parametrize("name", sorted(PROFILES.keys() - {"default"}))
def test_reruns_do_not_depend_on_the_profile(name: str) -> None:
    default = read("default")
    assert {key: read(name)[key] for key in COMMON} == {key: default[key] for key in COMMON}


@pytest.mark.parametrize("name", ["slurm", "generic"])
def test_every_archive_is_grouped(name: str) -> None:
    catalogue = yaml.safe_load((REPOSITORY / "config" / "archives.yaml").read_text())["catalogue"]
    rules = {f"fetch_{archive}" for archive in catalogue} | {"merge_shard"}
    profile = read(name)
    assert profile["groups"] == {rule: rule for rule in rules}
    assert profile["group-components"].keys() == rules


def test_scripts_of_profiles_can_be_run() -> None:
    for path in Path(REPOSITORY / "profiles").glob("*/*.sh"):
        assert path.stat().st_mode & 0o111, path
