# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # From light curves to variability features and the input of a classifier
#
# A row of numbers for each target, from every band that measures a flux density.

# %%
from pathlib import Path

import numpy as np
import pandas as pd

from lightloom.read import read_lightcurves

results = Path("results")
LEAST_ROWS = 10

# %%
rows = read_lightcurves(results, view="clean").to_pandas()
rows = rows[rows.flux_mjy.notna() & (rows.flux_err_mjy > 0)].copy()
rows["band"] = rows.archive.astype(str) + "_" + rows.band.astype(str)
len(rows)

# %% [markdown]
# ## Features of a light curve
#
# - `excess_variance`: variance beyond that of the errors, over the squared mean (Vaughan et al. 2003);
#   negative if the errors explain all of it.
# - `chi2`: chi-squared of a constant flux, over the degrees of freedom.
# - `amplitude`: the range from the 5th to the 95th percentile, over the median.
# - `von_neumann`: mean squared difference of neighbours over the variance (von Neumann 1941), 2 for noise,
#   less for a smooth curve.


# %%
def features(curve: pd.DataFrame) -> pd.Series:
    """Describe how a light curve of one band varies."""
    curve = curve.sort_values("time_mjd_tdb")
    flux, error = curve.flux_mjy.to_numpy(), curve.flux_err_mjy.to_numpy()
    mean = np.average(flux, weights=error**-2)
    low, middle, high = np.percentile(flux, [5, 50, 95])
    variance = flux.var(ddof=1)
    return pd.Series(
        {
            "rows": len(flux),
            "mean_mjy": mean,
            "excess_variance": (variance - np.mean(error**2)) / flux.mean() ** 2,
            "chi2": np.sum(((flux - mean) / error) ** 2) / (len(flux) - 1),
            "amplitude": (high - low) / middle,
            "von_neumann": np.mean(np.diff(flux) ** 2) / variance if variance > 0 else np.nan,
        }
    )


enough = rows.groupby(["objectid", "band"]).filter(lambda curve: len(curve) >= LEAST_ROWS)
by_band = enough.groupby(["objectid", "band"])[["time_mjd_tdb", "flux_mjy", "flux_err_mjy"]].apply(
    features
)
by_band.sort_values("chi2", ascending=False).head(10)

# %% [markdown]
# ## A row for each target
#
# Bands that a target lacks stay empty (NaN): whether to fill them is a decision of the classifier, as the
# ledger tells "not observed" from "nothing there". The labels are those of the sample.

# %%
matrix = by_band.unstack("band")
matrix.columns = [f"{band}_{name}" for name, band in matrix.columns]
sample = pd.read_parquet(results / "sample" / "sample.parquet", columns=["objectid", "labels"])
labels = sample.set_index("objectid").labels.str.join(", ")
classifier_input = matrix.join(labels)
classifier_input.to_parquet(results / "features.parquet")
classifier_input.shape

# %% [markdown]
# ## The frame of the Fornax notebooks
#
# Notebooks that expect the index (objectid, label, band, time) take this as it is.

# %%
fornax = read_lightcurves(results, view="clean").to_fornax()
assert list(fornax.index.names) == ["objectid", "label", "band", "time"]
assert len(classifier_input)
fornax.head()
