"""lightkurve takes our light curves: values, units, time scale and ids.

It needs an older pandas than the project, so it runs in an environment of its own; see
docs/laboratory.md.
"""

import json
import os
import subprocess
from pathlib import Path

from lightloom.read import read_lightcurves
from lightloom.read.lightcurves import with_flux
from other_python import python_with
from project import REPOSITORY
from small_run import SmallRun
from written_results import write_results

READ = """
import json, sys, warnings
warnings.simplefilter("ignore")
from lightloom.read import read_lightcurves
curves = read_lightcurves(sys.argv[1], view="all").to_lightkurve()
print(json.dumps([
    [curve.meta["OBJECT"], curve.meta["ARCHIVE"], curve.meta["BAND"], str(curve.flux.unit),
     curve.time.scale, curve.time.mjd.tolist(), curve.flux.value.tolist(),
     [None if error != error else error for error in curve.flux_err.value.tolist()]]
    for curve in curves
]))
"""


def test_lightkurve(small_run: SmallRun) -> None:
    results: Path = write_results(small_run)
    python = python_with("lightkurve", "lightkurve", "pyarrow")
    done = subprocess.run(
        [python, "-c", READ, str(results)],
        env={"PYTHONPATH": str(REPOSITORY / "scripts"), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert {tuple(curve[:5]) for curve in found} >= {
        ("far", "tess", "TESS", "electron / s", "tdb"),
        ("NGC 1068", "ztf", "g", "mJy", "tdb"),
    }
    expected: dict[tuple, list] = {}
    rows = with_flux(read_lightcurves(results, view="all").table)
    for row in rows.sort_by("time_mjd_tdb").to_pylist():
        key = (row["objectid"], row["archive"], row["band"])
        expected.setdefault(key, []).append((row["time_mjd_tdb"], row["flux"], row["err"]))
    assert {tuple(c[:3]): list(zip(*c[5:], strict=True)) for c in found} == expected
