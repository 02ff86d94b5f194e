"""The configuration as Snakemake merges it, for commands that plan a run without starting one."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lightloom.config import Run, load_run
from lightloom.errors import ConfigError

#: Files that the Snakefile itself names, in its order.
DEFAULT_FILES = ("config/archives.yaml", "config/config.yaml", "config/sky/embedded.yaml")


def load_project(folder: Path, overlays: Iterable[Path], settings: Iterable[str]) -> Run:
    """Return the run that `snakemake` would start in a folder.

    Parameters
    ----------
    folder : pathlib.Path
        The folder of the Snakefile.
    overlays : iterable of pathlib.Path
        Files as of ``--configfile``.
    settings : iterable of str
        Texts ``key=value`` as of ``--config``.

    Raises
    ------
    ConfigError
        If a file is missing or cannot be read, or the configuration is wrong.
    """
    from snakemake.cli import parse_config
    from snakemake.common.configfile import load_configfile
    from snakemake.exceptions import WorkflowError
    from snakemake.utils import update_config

    config: dict[str, Any] = {}
    for path in (*(folder / name for name in DEFAULT_FILES), *overlays):
        if not path.exists():
            raise ConfigError(
                f"{path}: not found, expected a configuration; start the command in the folder of"
                " the Snakefile, or name it with --directory"
            )
        try:
            update_config(config, load_configfile(str(path)))
        except WorkflowError as error:
            raise ConfigError(f"{path}: {error}; correct it there") from error
    try:
        update_config(config, parse_config(list(settings)))
    except ValueError as error:
        raise ConfigError(f"--config: {error}") from error
    return load_run(config)
