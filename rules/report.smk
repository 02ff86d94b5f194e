"""Figures and tables; `snakemake --report report.html` binds them together."""


rule plot_coverage:
    """Draw the sample on the sky and the states of the searches."""
    input:
        sample="<results>/sample/sample.parquet",
        ledger="<results>/ledger.parquet",
    output:
        report(
            "<results>/report/coverage.png",
            caption="report/coverage.rst",
            category="Sample",
            labels={"figure": "Sky coverage and states"},
        ),
    log:
        "<logs>/plot_coverage.log",
    benchmark:
        "<benchmarks>/plot_coverage.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(20),
        attempt=current_attempt,
    script:
        "../scripts/plot_coverage.py"


rule plot_state_map:
    """Draw the state of every target in every archive."""
    input:
        ledger="<results>/ledger.parquet",
    output:
        report(
            "<results>/report/state-map.png",
            caption="report/state-map.rst",
            category="Sample",
            labels={"figure": "State of every target"},
        ),
    log:
        "<logs>/plot_state_map.log",
    benchmark:
        "<benchmarks>/plot_state_map.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        attempt=current_attempt,
    script:
        "../scripts/plot_state_map.py"


rule plot_archives:
    """Draw coverage, epochs, cadence and distances of the matches of each archive."""
    input:
        sample="<results>/sample/sample.parquet",
        ledger="<results>/ledger.parquet",
        lightcurves=MERGED,
    output:
        [
            report(
                f"<results>/report/archive-{archive}.png",
                caption="report/archives.rst",
                category="Archives",
                subcategory=archive,
                labels={"figure": "Coverage, epochs, cadence, matches"},
            )
            for archive in RUN.enabled
        ],
    log:
        "<logs>/plot_archives.log",
    benchmark:
        "<benchmarks>/plot_archives.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        attempt=current_attempt,
    params:
        radii_arcsec=match_radii(),
    script:
        "../scripts/plot_archives.py"


rule plot_lightcurves:
    """Draw the light curves of the targets with most rows."""
    input:
        sample="<results>/sample/sample.parquet",
        ledger="<results>/ledger.parquet",
        lightcurves=MERGED,
    output:
        figures=[
            report(
                f"<results>/report/lightcurve-{rank}.png",
                caption="report/lightcurves.rst",
                category="Light curves",
                labels=drawn_labels(rank, "static"),
            )
            for rank in DRAWN
        ],
        pages=[
            report(
                f"<results>/report/lightcurve-{rank}.html",
                caption="report/interactive.rst",
                category="Light curves",
                labels=drawn_labels(rank, "interactive"),
            )
            for rank in DRAWN
        ],
    log:
        "<logs>/plot_lightcurves.log",
    benchmark:
        "<benchmarks>/plot_lightcurves.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(20),
        attempt=current_attempt,
    script:
        "../scripts/plot_lightcurves.py"


rule tabulate_states:
    """Tabulate states, cost and failures per archive."""
    input:
        ledger="<results>/ledger.parquet",
        statuses=STATUSES,
    output:
        page=report(
            "<results>/report/states.html",
            caption="report/states.rst",
            category="Sample",
            labels={"figure": "States, cost and failures"},
        ),
    log:
        "<logs>/tabulate_states.log",
    benchmark:
        "<benchmarks>/tabulate_states.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=growing(500),
        runtime=growing(20),
        attempt=current_attempt,
    params:
        titles={name: spec.title for name, spec in RUN.archives.items()},
    script:
        "../scripts/tabulate_states.py"


rule tabulate_citations:
    """Write what to cite and acknowledge: the archives that gave rows, and no others."""
    input:
        ledger="<results>/ledger.parquet",
    output:
        bibtex="<results>/citations.bib",
        text="<results>/acknowledgements.txt",
    log:
        "<logs>/tabulate_citations.log",
    benchmark:
        "<benchmarks>/tabulate_citations.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=growing(500),
        attempt=current_attempt,
    params:
        papers={name: [spec.title, spec.citation] for name, spec in RUN.archives.items()},
    script:
        "../scripts/tabulate_citations.py"
