# Lightloom: light curves of a sample of targets from the public archives, as one table.
#
#   snakemake --cores all                   the main job (rules/targets.smk lists the others)
#   snakemake --cores all --configfile config/live.yaml      the same from the real archives
from snakemake.utils import min_version

min_version("9.27")


configfile: workflow.source_path("config/archives.yaml")
configfile: workflow.source_path("config/config.yaml")
configfile: workflow.source_path("config/sky/embedded.yaml")


include: "rules/common.smk"


pathvars:
    results=RUN.results.as_posix(),
    logs=f"{RUN.results.as_posix()}/logs",
    benchmarks=f"{RUN.results.as_posix()}/benchmarks",


report: "rules/report/workflow.rst"


include: "rules/services.smk"
include: "rules/sky.smk"
include: "rules/sample.smk"
include: "rules/shard.smk"
include: "rules/fetch.smk"
include: "rules/merge.smk"
include: "rules/report.smk"
include: "rules/moving.smk"


rule all:
    """Everything: light curves, ledger, HATS catalogue and figures (the default)."""
    input:
        DATA,
        "<results>/report/coverage.png",
        "<results>/report/states.html",
        "<results>/citations.bib",
        "<results>/acknowledgements.txt",
        "<results>/report/state-map.png",
        expand("<results>/report/archive-{archive}.png", archive=RUN.enabled),
        expand("<results>/report/lightcurve-{rank}.{kind}", rank=DRAWN, kind=["png", "html"]),
    localrule: True


include: "rules/targets.smk"
include: "rules/publish.smk"
