"""Moving objects of the embedded sky: real orbits, alerts along their tracks, and the truth.

`write_moving` writes them with the sky; `lightloom.sky.moving.benchmark` writes large ones.
"""

from lightloom.sky.moving.build import write_moving

__all__ = ["write_moving"]
