# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # First look at a sample
#
# What came of a run: how the searches ended, and the light curve of one target. Start it in the folder
# of a finished run (`jupytext --to ipynb first_look.py` makes a notebook of this file).

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from lightloom.read import read_lightcurves

results = Path("results")

# %% [markdown]
# ## How did the searches end?
#
# The ledger has a row for each target and archive. `searched_empty` means that the archive has nothing
# there, `outside_footprint` that it has not looked.

# %%
ledger = pd.read_parquet(results / "ledger.parquet")
states = ledger.pivot_table(
    index="archive", columns="state", values="objectid", aggfunc="count", fill_value=0
)
states["rows"] = ledger.groupby("archive").n_rows.sum()
states

# %% [markdown]
# ## The target with most rows
#
# The view `clean` keeps what each archive recommends for use.

# %%
objectid = ledger.groupby("objectid").n_rows.sum().idxmax()
rows = read_lightcurves(results, objectids=[objectid], view="clean").to_pandas()
rows.groupby(["archive", "band"]).agg(
    rows=("time_mjd_tdb", "size"),
    first_mjd=("time_mjd_tdb", "min"),
    last_mjd=("time_mjd_tdb", "max"),
    median_mjy=("flux_mjy", "median"),
)

# %% [markdown]
# ## All archives that measure a flux density, on one axis
#
# `time_mjd_tdb` is the same instant for all, MJD in TDB at the barycentre; `flux_mjy` the same unit.

# %%
figure, axis = plt.subplots(figsize=(9, 4))
with_flux = rows[rows.flux_mjy.notna()]
for (archive, band), curve in with_flux.groupby(["archive", "band"]):
    axis.errorbar(
        curve.time_mjd_tdb, curve.flux_mjy, curve.flux_err_mjy, fmt=".", label=f"{archive} {band}"
    )
axis.set(xlabel="time [MJD, TDB at the barycentre]", ylabel="flux density [mJy]", title=objectid)
axis.legend(ncols=3, fontsize="small")
assert len(with_flux)
