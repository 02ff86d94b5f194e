"""``lightloom config-docs``."""


def config_docs() -> None:
    """Make the tables of keys in config/README.md anew, after a change of a schema.

    Example: `lightloom config-docs`
    """
    from lightloom.config_docs import MANUAL, update_manual

    MANUAL.write_text(update_manual(MANUAL.read_text(encoding="utf-8")), encoding="utf-8")
