"""The worker: the Faust agent, its batches, breaker, progress and shadow, and the fixes for Faust.

Imports scoring, kafka, telemetry and observing; only here is Faust imported.
"""

from cempstream.streams.worker.private_names import check_private_names

# Before any module here subclasses a private name: a library that lacks it is refused, and the name is given.
check_private_names()
