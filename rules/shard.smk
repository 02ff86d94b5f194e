"""Shards: `<results>/shards/<shard>.parquet`, the targets of one leaf of the sky.

They are written when the workflow starts (PLAN in common.smk; scripts/lightloom/plan.py says why), and only if
their targets have changed. A shard is named by its nested HEALPix leaf, or `allsky` if it holds the whole sample.
"""


wildcard_constraints:
    shard=r"allsky|norder\d+-npix\d+",
