"""The worker: the Faust agent, its batches, breaker, progress and shadow, and the repairs of Faust.

Imports scoring, kafka and telemetry; only here is Faust imported.
"""
