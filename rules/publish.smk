"""Publish: copy the results to an object store, on request (`snakemake published`).

Snakemake's storage plugin writes them; what has not changed is not sent again. The run itself works on files, as its
journals and locks need a file system.
"""

if RUN.publish:

    rule publish_file:
        """Copy one file of the results."""
        input:
            "<results>/{path}",
        output:
            storage.s3(f"{RUN.publish}/{{path}}"),
        log:
            "<logs>/publish/{path}.log",
        wildcard_constraints:
            path=r"(sample/sample|ledger|lightcurves/[^/]+)\.parquet|manifest\.json",
        localrule: True
        conda:
            "../envs/analysis.yaml"
        shell:
            "cp -- {input:q} {output:q} 2> {log:q}"

    rule publish_hats:
        """Copy the HATS catalogue."""
        input:
            "<results>/hats/lightcurves",
        output:
            storage.s3(f"{RUN.publish}/hats/lightcurves"),
        log:
            "<logs>/publish/hats.log",
        localrule: True
        conda:
            "../envs/analysis.yaml"
        shell:
            "cp --recursive -- {input:q} {output:q} 2> {log:q}"

    rule published:
        """All results on the object store."""
        input:
            [
                storage.s3(f"{RUN.publish}/{path}")
                for path in (
                    "sample/sample.parquet",
                    "ledger.parquet",
                    "manifest.json",
                    "hats/lightcurves",
                    *(f"lightcurves/{shard}.parquet" for shard in PLAN.shards),
                )
            ],
        localrule: True
