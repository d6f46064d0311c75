"""What an operator does to a night: check it, compare, verify, score again, watch its exposures.

Imports scoring, kafka and telemetry.
"""
