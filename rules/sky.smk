"""The embedded sky: small catalogues in the archives' own layouts, to try and to test the workflow without network.

To the other rules its catalogues are endpoints (config/sky/embedded.yaml), like any others. Below sky/services lie
the tables and files of the archives that are services, for a server of them.
"""


rule build_sky:
    """Build the embedded sky around the sample of Yang et al. (2018)."""
    input:
        sample=workflow.source_path("../config/samples/yang2018.csv"),
    output:
        "sky/ztf_dr24_lc-hats/hats.properties",
        "sky/unwise-neo7-time_domain-healpix_k5.parquet/_metadata",
        "sky/gaia_dr3_epoch_phot/hats.properties",
        "sky/panstarrs/otmo/hats.properties",
        "sky/panstarrs/detection/hats.properties",
        [
            f"sky/neowiser/healpix_k5/{subset}/neowiser-healpix_k5-{subset}.parquet/_metadata"
            for subset in (*(f"year{year}" for year in range(1, 12)), "addendum")
        ],
        [
            f"sky/services/{table}.parquet"
            for table in (
                "alerce/objects",
                "hcv/hcv",
                "hcv/hcvsummary",
                "heasarc/fermigtrig",
                "heasarc/icecubepsc",
                "heasarc/saxgrbmgrb",
                "heasarc/xmmssc",
                "mast/observations",
                "mast/products",
                "ned/objects",
                "nsc/nsc_dr2.exposure",
                "nsc/nsc_dr2.meas",
                "nsc/nsc_dr2.object",
                "rubin/dp1.ForcedSource",
                "rubin/dp1.Object",
                "rubin/dp1.Visit",
                "sdss/SpecObj",
                "sesame/names",
                "simbad/basic",
                "simbad/has_ref",
                "simbad/ident",
                "simbad/ref",
                "vizier/J_ApJ_874_8_table1",
                "vizier/J_ApJ_874_8_table2",
                "vizier/J_ApJ_933_180_table2",
            )
        ],
        "sky/services/rubin/footprint.txt",
        "sky/services/horizons/objects.csv",
        "sky/services/kowalski/ZTF_alerts.parquet",
        directory("sky/moving/alerts.parquet"),
        directory("sky/moving/avro"),
        "sky/moving/objects.csv",
        "sky/moving/truth/ephemerides.parquet",
        "sky/moving/truth/matches.parquet",
        "sky/truth/lightcurves.parquet",
        "sky/truth/states.parquet",
        "sky/awkward.csv",
    log:
        "<logs>/build_sky.log",
    benchmark:
        "<benchmarks>/build_sky.tsv"
    conda:
        "../envs/fetch.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        attempt=current_attempt,
    script:
        "../scripts/build_sky.py"
