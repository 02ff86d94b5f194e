"""lightkurve, unmodified, finds and reads light curves of the laboratory.

It does not resolve together with the project's other packages (it wants an older pandas), so it
runs in an environment of its own; see docs/laboratory.md.
"""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from laboratory_sky import KIC, N_CADENCES, STARS, TIC

from laboratory import Laboratory
from other_python import python_with

SEARCH = """
import json, sys, warnings
warnings.simplefilter("ignore")
import lightkurve
options = json.loads(sys.argv[1])
found = lightkurve.search_lightcurve(options.pop("target"), **options)
curves = [found[row].download(quality_bitmask="none") for row in range(len(found))]
print(json.dumps([
    [str(curve.meta["OBJECT"]), curve.meta["MISSION"], len(curve), str(curve.flux.unit),
     float(curve.time.tdb.mjd[0])]
    for curve in curves
]))
"""


@pytest.fixture
def search(laboratory: Laboratory, tmp_path: Path) -> Callable[..., list[list[Any]]]:
    """Search and download in another process, with only settings of users changed."""
    python = python_with("lightkurve", "lightkurve")
    settings = tmp_path / ".astropy" / "config" / "astroquery.cfg"
    settings.parent.mkdir(parents=True)
    settings.write_text(f"[mast]\nserver = {laboratory.url('mast')}\n")
    environment = {
        "HOME": str(tmp_path),
        "PATH": os.environ["PATH"],
        # The address of the name resolver is fixed in astroquery.
        "http_proxy": laboratory.base,
        "no_proxy": "127.0.0.1",
        "MPLBACKEND": "agg",
    }

    def run(**options: Any) -> list[list[Any]]:
        command = [python, "-c", SEARCH, json.dumps(options)]
        done = subprocess.run(
            command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run


def test_search_by_tic(search: Callable[..., list[list[Any]]]) -> None:
    [found] = search(target=f"TIC {TIC}", mission="TESS", author="SPOC")
    assert found[:4] == [f"TIC {TIC}", "TESS", N_CADENCES, "electron / s"]
    assert found[4] == pytest.approx(1700 + 2_457_000 - 2_400_000.5, abs=1e-9)


def test_search_by_kic(search: Callable[..., list[list[Any]]]) -> None:
    [found] = search(target=f"KIC {KIC}", mission="Kepler")
    assert found[:3] == [f"KIC {KIC}", "Kepler", N_CADENCES]


def test_search_by_position(search: Callable[..., list[list[Any]]], laboratory: Laboratory) -> None:
    ra_deg, dec_deg = STARS[str(TIC)]
    [found] = search(target=f"{ra_deg}, {dec_deg}", radius=2, mission="TESS")
    assert found[0] == f"TIC {TIC}"
    paths = {record["path"] for record in laboratory.log("mast")}
    assert {"/Santa-war/query", "/api/v0/invoke", "/api/v0.1/Download/file"} <= paths
