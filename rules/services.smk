"""What starts with the run and ends with it.

Services on this machine that the run needs (`services` in the configuration): they are no files that a rule
could make. Ctrl-C and SIGTERM end the run with all its jobs, also those in Slurm's queue.
"""


onstart:
    if not MINE:
        raise WorkflowError(BUSY)
    end_with_jobs()
    watch_slurm_jobs(workflow.scheduler._executor, RUN.results / ".slurm")
    checked(start_services, NEEDED_SERVICES, RUN.results / "logs" / "services")
