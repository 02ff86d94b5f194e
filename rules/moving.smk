"""Moving objects: `snakemake comets --cores all`; docs/moving-objects.md.

`<results>/moving/ephemerides/<block>.json`    the tracks of a block of objects, a file per object and window
`<results>/moving/matches/<block>.json`        their matches with alerts, a file per source, object and window
`<results>/moving/ledger.parquet`              the state of every object x window x source

The files per object and window are no outputs of their own, as Snakefiles with 10^5 jobs are slow: a job keeps
what is done and asks for the rest.
"""


wildcard_constraints:
    block=r"block-\d{4}-of-\d{4}",


rule fetch_ephemerides:
    """Fetch the tracks of a block of objects, window by window."""
    input:
        required=[ancient(path) for path in MOVING_REQUIRED],
    output:
        status="<results>/moving/ephemerides/{block}.json",
    log:
        "<logs>/fetch_ephemerides/{block}.log",
    benchmark:
        "<benchmarks>/fetch_ephemerides/{block}.tsv"
    retries: 1
    conda:
        "../envs/fetch.yaml"
    threads: 2
    resources:
        mem_mb=growing(1000),
        attempt=current_attempt,
    params:
        key=ephemeris_key_of_block,
    script:
        "../scripts/fetch_ephemerides.py"


rule match_alerts:
    """Match a block of objects with the alerts of all sources."""
    input:
        ephemerides="<results>/moving/ephemerides/{block}.json",
        required=[ancient(path) for path in MOVING_REQUIRED],
    output:
        status="<results>/moving/matches/{block}.json",
    log:
        "<logs>/match_alerts/{block}.log",
    benchmark:
        "<benchmarks>/match_alerts/{block}.tsv"
    retries: 1
    conda:
        "../envs/fetch.yaml"
    threads: 2
    resources:
        mem_mb=growing(2000),
        attempt=current_attempt,
    params:
        key=MATCH_KEY,
    script:
        "../scripts/match_alerts.py"


rule merge_moving:
    """Put the matches of all objects together, with light curves, negatives and the ledger."""
    input:
        statuses=expand("<results>/moving/matches/{block}.json", block=MOVING.blocks),
    output:
        matches=directory("<results>/moving/objects"),
        lightcurves="<results>/moving/lightcurves.parquet",
        labelled="<results>/moving/labelled.parquet",
        ledger="<results>/moving/ledger.parquet",
    log:
        "<logs>/merge_moving.log",
    benchmark:
        "<benchmarks>/merge_moving.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=growing(1500),
        attempt=current_attempt,
    params:
        n_states=MOVING_STATES_EXPECTED,
    script:
        "../scripts/merge_moving.py"


rule plot_moving:
    """Draw the track and the magnitudes of every object of a block."""
    input:
        ephemerides="<results>/moving/ephemerides/{block}.json",
        matches="<results>/moving/matches/{block}.json",
    output:
        report(
            directory("<results>/moving/report/{block}"),
            patterns=["{object}.png"],
            caption="report/moving.rst",
            category="Moving objects",
        ),
    log:
        "<logs>/plot_moving/{block}.log",
    benchmark:
        "<benchmarks>/plot_moving/{block}.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        attempt=current_attempt,
    script:
        "../scripts/plot_moving.py"


rule check_moving:
    """Count the states; ends with an error if searches failed, after all else is written."""
    input:
        ledger="<results>/moving/ledger.parquet",
    output:
        summary="<results>/moving/summary.json",
    log:
        "<logs>/check_moving.log",
    benchmark:
        "<benchmarks>/check_moving.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=growing(500),
        attempt=current_attempt,
    script:
        "../scripts/check_moving.py"


rule comets:
    """Moving objects: tracks, matched alerts, light curves, ledger and figures."""
    input:
        expand(
            "<results>/moving/{kind}/{block}.json",
            kind=["ephemerides", "matches"],
            block=MOVING.blocks,
        ),
        "<results>/moving/objects",
        "<results>/moving/lightcurves.parquet",
        "<results>/moving/labelled.parquet",
        "<results>/moving/ledger.parquet",
        expand("<results>/moving/report/{block}", block=MOVING.blocks),
        "<results>/moving/summary.json",
    localrule: True
