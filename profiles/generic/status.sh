#!/bin/sh
# Say how a job of Slurm is, in the words of Snakemake; what the controller has forgotten is asked of the accounting.
state=$(squeue --noheader --states=all --jobs="$1" --format=%T 2>/dev/null | head -n 1)
[ -n "$state" ] || state=$(sacct --noheader --allocations --parsable2 --jobs="$1" --format=State 2>/dev/null | head -n 1)
case "$state" in
    COMPLETED) echo success ;;
    PENDING | CONFIGURING | RUNNING | SUSPENDED | COMPLETING | PREEMPTED | REQUEUED | STOPPED) echo running ;;
    *) echo failed ;;
esac
