"""What all archives that are services share: politeness, faults, tokens and probes.

docs/services.md explains how they work together.
"""
