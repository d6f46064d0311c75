"""The stream: agents, pipeline, commands, metrics, publisher and subscriber client."""

import os

# Batches are the unit of parallelism: a matrix product that spreads over all cores makes them wait for each
# other, and cost 1.4 s of CPU time in 1,000 spectra. Numpy reads this when it is first imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
