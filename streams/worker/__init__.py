"""The worker: the Faust agent, its batches, breaker, progress and shadow, and the repairs of Faust.

Imports scoring, kafka and telemetry; only here is Faust imported.
"""

from cempstream.streams.worker.private_names import check_private_names

# Before any module here subclasses what it repairs: a library without it is refused by name.
check_private_names()
