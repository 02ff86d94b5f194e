"""Fetch: one job per shard and archive writes a part and its status.

PARTS   `<results>/parts/<archive>/<shard>.parquet`, light-curve rows
STATUS  `<results>/parts/<archive>/<shard>.status.json`, the state of every target and what was read

All archives share this template; what differs stands in config/archives.yaml and scripts/lightloom/archives/.
`key` is all that a part depends on: settings that only say how a job runs reach it through the configuration
and re-fetch nothing.
"""

for archive in RUN.enabled:

    rule:
        """Fetch the light curves of one shard from one archive."""
        name:
            f"fetch_{archive}"
        input:
            shard="<results>/shards/{shard}.parquet",
            catalogue=catalogue_files(archive),
            required=required_files(archive),
        output:
            part="<results>/parts/<archive>/{shard}.parquet",
            status="<results>/parts/<archive>/{shard}.status.json",
        log:
            "<logs>/fetch/<archive>/{shard}.log",
        benchmark:
            "<benchmarks>/fetch/<archive>/{shard}.tsv"
        pathvars:
            archive=archive,
        retries: RUN.archives[archive].limits["retries"]
        conda:
            "../envs/fetch.yaml"
        threads: RUN.archives[archive].limits["threads"]
        resources:
            mem_mb=growing(RUN.archives[archive].limits["mem_mb"]),
            runtime=growing(RUN.archives[archive].limits["runtime_min"]),
            attempt=current_attempt,
        params:
            archive=archive,
            key=key_of(archive),
        script:
            "../scripts/fetch_lightcurves.py"
