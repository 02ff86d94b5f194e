"""The run, as the configuration describes it, and the functions that the rules ask. No rules.

RUN       the validated configuration and archive catalogue
PLAN      the shards; KEYS: what each part of each archive depends on
PARTS     a part per archive and shard, with its status in STATUSES
MERGED    the light curves of each shard; LEDGERS: the states of its targets
DATA      all files of data
DRAWN     the ranks of the targets whose light curves are drawn
MOVING    the blocks of moving objects, planned if they are asked for
LOCK      of the results folder; MINE: this process has it, and may change files
"""

import re
import sys

from lightloom.catalogs.markers import local_markers
from lightloom.clock import bring_back
from lightloom.config import load_run
from lightloom.errors import LightloomError
from lightloom.interruption import end_with_jobs, watch_slurm_jobs
from lightloom.local_services import start_services
from lightloom.locks import MOMENT_S, results_lock, taken
from lightloom.moving.plan import (
    ephemeris_key,
    load_moving_plan,
    match_key,
    set_aside_open,
    sync_moving_plan,
)
from lightloom.plan import fetch_keys, load_plan, plan_path, set_aside_unfinished, sync_plan
from lightloom.record import write_record
from lightloom.services.credentials import check_tokens
from snakemake.exceptions import WorkflowError


def checked(function, *arguments, **options):
    """Call a function of the library; wrong input ends the run with its message alone."""
    try:
        return function(*arguments, **options)
    except LightloomError as error:
        raise WorkflowError(str(error)) from None


def requested(target):
    """Tell whether a target was named: Snakemake itself reads its targets after the Snakefile."""
    return target in sys.argv[1:]


def dry_run():
    """Tell whether a dry run was asked for: Snakemake itself knows it after the Snakefile."""
    return any(re.fullmatch(r"--dry-?run|-[a-zA-Z]*n[a-zA-Z]*", option) for option in sys.argv[1:])


def catalogue_files(archive):
    """Files of a catalogue on this machine: if one is missing, a rule has to make it."""
    return local_markers(RUN.archives[archive])


def required_files(archive):
    """Files that have to be there while the archive is asked; their age does not matter."""
    return [ancient(path) for path in RUN.archives[archive].requires]


def key_of(archive):
    """Return a params function: what the shard's part of this archive depends on."""

    def key(wildcards):
        return KEYS[archive][wildcards.shard]

    return key


def keys_of_shard(wildcards):
    """What the shard's parts depend on, by archive."""
    return {archive: KEYS[archive][wildcards.shard] for archive in RUN.enabled}


def match_radii():
    """Search radius of each archive [arcsec]; None for events, which have radii of their own."""
    return {
        archive: (
            None if RUN.archives[archive].kind == "event" else RUN.archives[archive].radius_arcsec
        )
        for archive in RUN.enabled
    }


def ephemeris_key_of_block(wildcards):
    """What the ephemerides of a block depend on."""
    return ephemeris_key(RUN.moving, MOVING.blocks[wildcards.block])


def current_attempt(wildcards, attempt):
    """Number of the job's attempt, from 1."""
    return attempt


def growing(amount):
    """Return a resource function: memory [MB] or time [min] that doubles with each attempt."""

    def amount_of_attempt(wildcards, attempt):
        return amount * 2 ** (attempt - 1)

    return amount_of_attempt


def drawn_labels(rank, figure):
    """Return a function for the labels of a figure: the target, known from the ledger, and its kind."""

    def labels(wildcards, input):
        # The Snakefile is read by every job, and wants no numerical library.
        from lightloom.plots.targets import richest_targets

        drawn = richest_targets(
            sample_path=input.sample, ledger_path=input.ledger, n_targets=len(DRAWN)
        )
        return {"target": drawn[int(rank) - 1].objectid, "figure": figure}

    return labels


RUN = checked(load_run, config)
if workflow.is_main_process:
    checked(check_tokens, [RUN.archives[archive] for archive in RUN.enabled])
# From here on files are changed. While another run is at work, this process changes none of its own, and ends when
# it would begin (rules/services.smk).
LOCK = results_lock(RUN.results)
BUSY = f"{RUN.results}: another run is at work in this folder; wait for its end, or set `results` to another one"
MINE = workflow.is_main_process and checked(taken, LOCK, 0 if dry_run() else MOMENT_S)
if workflow.is_main_process and not MINE and not plan_path(RUN.results).exists():
    raise WorkflowError(BUSY)
if MINE and not dry_run():
    checked(bring_back, RUN.results)
# Jobs run with the plan that the main process has made: the sample may have changed meanwhile.
PLAN = checked(sync_plan, RUN, dry_run=dry_run()) if MINE else checked(load_plan, RUN.results)
KEYS = {archive: checked(fetch_keys, PLAN, RUN.archives[archive]) for archive in RUN.enabled}
if MINE:
    set_aside_unfinished(PLAN, KEYS, thorough=requested("repair"))
    if not dry_run():
        write_record(RUN, KEYS)

PARTS = expand("<results>/parts/{archive}/{shard}.parquet", archive=RUN.enabled, shard=PLAN.shards)
STATUSES = [part.replace(".parquet", ".status.json") for part in PARTS]
MERGED = expand("<results>/lightcurves/{shard}.parquet", shard=PLAN.shards)
LEDGERS = expand("<results>/ledger/{shard}.parquet", shard=PLAN.shards)
# Each file is named: one that is missing is not noticed behind a later one that is there and has not to be made anew.
DATA = [
    *PARTS,
    *STATUSES,
    *MERGED,
    *LEDGERS,
    "<results>/ledger.parquet",
    "<results>/hats/lightcurves",
    "<results>/manifest.json",
]
DRAWN = [f"{rank:02d}" for rank in range(1, min(RUN.report.lightcurves, PLAN.n_targets) + 1)]

MOVING_REQUESTED = RUN.moving is not None and any(
    word == "comets" or "/moving/" in word for word in sys.argv[1:]
)
MOVING = (
    checked(sync_moving_plan, RUN.moving, RUN.results)
    if MINE and MOVING_REQUESTED
    else load_moving_plan(RUN.moving, RUN.results)
)
if MINE and MOVING_REQUESTED:
    set_aside_open(MOVING, RUN.moving)
if dry_run():
    LOCK.release()
MATCH_KEY = match_key(RUN.moving) if RUN.moving else {}
MOVING_REQUIRED = RUN.moving.requires if RUN.moving else ()
MOVING_STATES_EXPECTED = (
    sum(map(len, MOVING.blocks.values()))
    * len(MOVING.windows)
    * len(RUN.moving.sources if RUN.moving else ())
)
NEEDED_SERVICES = [
    *RUN.services,
    *(one for one in RUN.moving_services if MOVING_REQUESTED and one not in RUN.services),
]
