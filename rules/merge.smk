"""Merge: all archives per shard, then the whole sample.

`<results>/lightcurves/<shard>.parquet`   all light curves of a shard; the folder is one Parquet dataset
`<results>/ledger.parquet`                the state of every target in every archive
`<results>/hats/lightcurves`              the light curves as a HATS catalogue
`<results>/manifest.json`                 the digest of every data file
"""


rule merge_shard:
    """Merge the archives' parts for one shard, checking each against its status."""
    input:
        shard="<results>/shards/{shard}.parquet",
        parts=expand("<results>/parts/{archive}/{{shard}}.parquet", archive=RUN.enabled),
        statuses=expand("<results>/parts/{archive}/{{shard}}.status.json", archive=RUN.enabled),
    output:
        lightcurves="<results>/lightcurves/{shard}.parquet",
        ledger="<results>/ledger/{shard}.parquet",
    log:
        "<logs>/merge_shard/{shard}.log",
    benchmark:
        "<benchmarks>/merge_shard/{shard}.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(20),
        attempt=current_attempt,
    params:
        part_keys=keys_of_shard,
        catalogue=list(RUN.archives),
    script:
        "../scripts/merge_shard.py"


rule merge_ledger:
    """Put the ledgers of all shards together and check that they add up."""
    input:
        pieces=LEDGERS,
        sample="<results>/sample/sample.parquet",
    output:
        ledger="<results>/ledger.parquet",
    log:
        "<logs>/merge_ledger.log",
    benchmark:
        "<benchmarks>/merge_ledger.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(20),
        attempt=current_attempt,
    params:
        catalogue=list(RUN.archives),
    script:
        "../scripts/merge_ledger.py"


rule merge_hats:
    """Write the light curves as a HATS catalogue, one row per target."""
    input:
        shards=expand("<results>/shards/{shard}.parquet", shard=PLAN.shards),
        lightcurves=MERGED,
        sample="<results>/sample/sample.parquet",
    output:
        catalog=directory("<results>/hats/lightcurves"),
    log:
        "<logs>/merge_hats.log",
    benchmark:
        "<benchmarks>/merge_hats.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=growing(1500),
        runtime=growing(60),
        attempt=current_attempt,
    script:
        "../scripts/merge_hats.py"


rule tabulate_manifest:
    """List the digest of every data file: equal manifests are equal data."""
    input:
        lightcurves=MERGED,
        ledger="<results>/ledger.parquet",
        data=["<results>/sample/sample.parquet", "<results>/hats/lightcurves"],
    output:
        manifest="<results>/manifest.json",
    log:
        "<logs>/tabulate_manifest.log",
    benchmark:
        "<benchmarks>/tabulate_manifest.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=growing(500),
        runtime=growing(20),
        attempt=current_attempt,
    script:
        "../scripts/tabulate_manifest.py"
