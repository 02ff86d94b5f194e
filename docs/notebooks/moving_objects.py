# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Comets and asteroids
#
# What the alerts of a survey say of objects that move. Start it in the folder of a finished run of
# `snakemake comets --cores all`.

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

moving = Path("results/moving")

# %% [markdown]
# ## How did the searches end?
#
# The ledger has a row for each object, window of time and source of alerts.

# %%
ledger = pd.read_parquet(moving / "ledger.parquet")
states = ledger.pivot_table(
    index="objectid", columns="state", values="window", aggfunc="count", fill_value=0
)
states["matches"] = ledger.groupby("objectid").n_matches.sum()
states.sort_values("matches", ascending=False)

# %% [markdown]
# ## The matches
#
# A file for each object. Two sources may tell of the same alert, which `candid` identifies.

# %%
matches = pd.read_parquet(moving / "objects").drop_duplicates(["objectid", "candid"])
matches.groupby("objectid").agg(
    alerts=("candid", "size"),
    first_mjd=("time_mjd", "min"),
    last_mjd=("time_mjd", "max"),
    nearest_the_sun_au=("r_au", "min"),
    farthest_from_its_track_arcsec=("separation_arcsec", "max"),
)

# %% [markdown]
# ## Are they the object?
#
# A chance match lies anywhere in the search circle, a true one within the errors of alert and ephemeris.
# By chance three quarters would lie in the outer half of the radius.

# %%
figure, axis = plt.subplots(figsize=(6, 3.5))
share = matches.separation_arcsec / matches.search_radius_arcsec
axis.hist(share, bins=np.linspace(0, 1, 21))
axis.set(xlabel="distance from the track / search radius", ylabel="alerts")
assert share.max() <= 1

# %% [markdown]
# ## Brightness along the orbit
#
# `flux_ujy` is the flux of the difference image; where the reference image has a source at this place,
# `dc_mag` adds that source. A comet should be measured in the difference: its place in the reference is
# empty, unless a star is there. The distance from Sun and observer is taken out of the magnitude with
# $-5\log_{10}(r\,\Delta)$, both in au; what is left tells of phase, rotation and activity.

# %%
objectid = matches.objectid.value_counts().idxmax()
comet = matches[(matches.objectid == objectid) & matches.is_positive].copy()
comet["reduced_mag"] = comet.magpsf - 5 * np.log10(comet.r_au * comet.delta_au)
figure, (light, reduced) = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
for band, rows in comet.groupby("band"):
    light.errorbar(rows.time_mjd, rows.magpsf, rows.sigmapsf, fmt=".", label=band)
    reduced.errorbar(rows.r_au, rows.reduced_mag, rows.sigmapsf, fmt=".", label=band)
light.locator_params(axis="x", nbins=4)
light.set(xlabel="time [MJD, UTC]", ylabel="magnitude of the difference [AB mag]", title=objectid)
reduced.set(xlabel="distance from the Sun [au]", ylabel="the same at r = $\\Delta$ = 1 au [mag]")
for axis in (light, reduced):
    axis.invert_yaxis()
    axis.legend(title="band")

# %% [markdown]
# ## Examples for a classifier
#
# `labelled.parquet` has the matches (1) and alerts near the track at times when the object was not there (0).
# A cut in the survey's own score keeps this share of each:

# %%
labelled = pd.read_parquet(moving / "labelled.parquet").drop_duplicates(["objectid", "candid"])
scored = labelled[labelled.drb.notna()]
cuts = np.array([0.3, 0.5, 0.65, 0.8, 0.95])
pd.DataFrame(
    {
        label: (rows.drb.to_numpy() >= cuts[:, None]).mean(axis=1)
        for label, rows in scored.groupby("label")
    },
    index=pd.Index(cuts, name="drb at least"),
)

# %% [markdown]
# ## Together with the other targets
#
# `lightcurves.parquet` has the schema of all light curves, so that everything that reads `results/lightcurves`
# reads it too. Its `time_mjd_tdb` treats an object as infinitely far away: for light-travel times use
# `time_mjd` with `delta_au`.

# %%
rows = pd.read_parquet(moving / "lightcurves.parquet")
rows.groupby(["objectid", "archive", "band"]).flux_mjy.describe()[["count", "min", "50%", "max"]]
