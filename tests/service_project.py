"""A small project that asks services of the laboratory, for tests of whole runs."""

from pathlib import Path
from typing import Any

import yaml

from laboratory import Laboratory
from project import SAMPLE, Project

#: Archives, and the services that they are asked of: two of them have one in common.
SERVICES = {
    "fermigbm": "heasarc",
    "kepler": "mast",
    "nsc": "nsc",
    "tess": "mast",
    "xmm": "heasarc",
}


def services_project(
    root: Path, sky: Path, laboratory: Laboratory, archives: list[str], **limits: Any
) -> Project:
    """A project with a few targets in a few shards, and nothing but these services.

    Parameters
    ----------
    root : Path
        Where the project is made.
    sky : Path
        The embedded sky.
    laboratory : Laboratory
        Its servers.
    archives : list of str
        Names of archives, of those in ``SERVICES``.
    **limits
        Limits of each.
    """
    project = Project.create(root)
    (root / "sky").symlink_to(sky)
    header, *rows = (root / SAMPLE).read_text().splitlines()
    (root / "targets.csv").write_text("\n".join([header, *rows[:9]]) + "\n")
    source = {"kind": "table", "path": "targets.csv", "id": "name", "ra": "ra", "dec": "dec"}
    embedded = yaml.safe_load((root / "config" / "sky" / "embedded.yaml").read_text())
    base = f"http://127.0.0.1:{embedded['services']['sky']['port']}"
    sections: dict[str, Any] = {
        name: {"enabled": False} for name in project.default_configuration()["archives"]
    }
    for name in archives:
        endpoint = embedded["archives"][name]["endpoint"].replace(base, laboratory.base)
        sections[name] = {"endpoint": endpoint, "limits": limits}
    project.configure(
        {
            "archives": sections,
            "services": {"sky": {"enabled": False}},
            "sample": {"sources": [source]},
            "shards": {"max_targets": 5},
        }
    )
    return project
