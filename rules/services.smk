"""Services on this machine that the run needs (`services` in the configuration).

They are no files that a rule could make: they start with the run and end with it.
"""


onstart:
    checked(
        start_services,
        NEEDED_SERVICES,
        RUN.results / "logs" / "services",
    )
