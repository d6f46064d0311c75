"""The stream: what runs on and beside Kafka, in rooms that each say what they may import.

Imports every other layer; of the modules beside this one, rooms import addresses, interrupts, settings, times
and wording.
"""

import os

# Batches are the unit of parallelism. A matrix product that spreads over all cores makes batches wait for
# each other: it cost 1.4 s of CPU time in 1,000 spectra. Numpy reads this when it is first imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
