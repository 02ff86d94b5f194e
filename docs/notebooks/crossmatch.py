# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Crossmatch with LSDB
#
# The results are a HATS catalogue as well: one row per target, its light curve nested. LSDB crossmatches it
# with any other catalogue, and computes on the light curves lazily.

# %%
import lsdb
import numpy as np
import pandas as pd

catalog = lsdb.open_catalog("results/hats/lightcurves")
catalog.columns

# %% [markdown]
# ## A catalogue of your own
#
# Here it is made from the sample: the same places, half an arcsecond to the north. In its place stands what
# you want to compare with, such as `lsdb.open_catalog("https://data.lsdb.io/hats/gaia_dr3")`.

# %%
sample = pd.read_parquet("results/sample/sample.parquet", columns=["objectid", "ra_deg", "dec_deg"])
others = lsdb.from_dataframe(
    pd.DataFrame(
        {
            "name": "other " + sample.objectid,
            "ra": sample.ra_deg,
            "dec": np.minimum(sample.dec_deg + 0.5 / 3600, 90.0),
        }
    ),
    ra_column="ra",
    dec_column="dec",
)

# %%
pairs = catalog.crossmatch(
    others,
    radius_arcsec=1.0,
    n_neighbors=1,
    suffixes=("", "_other"),
    suffix_method="overlapping_columns",
).compute()
distance = next(column for column in pairs.columns if "dist" in column)
pairs[["objectid", "name", distance]].head()

# %% [markdown]
# ## Compute on the nested light curves
#
# The rows of a target are a table in its `lightcurve`.

# %%
curve = pairs.iloc[0]["lightcurve"]
assert len(pairs) == len(sample)
assert np.allclose(pairs[distance], 0.5, atol=0.01)
curve.groupby(["archive", "band"]).size()
