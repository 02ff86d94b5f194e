"""Moving objects of the embedded sky: real orbits, alerts along their tracks, and the truth.

`lightloom.sky.moving.build` writes them with the sky, `lightloom.sky.moving.benchmark` large sets.
"""
