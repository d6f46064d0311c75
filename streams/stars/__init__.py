"""The stars that are followed: an agent that folds observations into stars, and the table that holds them.

Imports scoring, kafka, telemetry, and of the worker what every agent is made of.
"""
