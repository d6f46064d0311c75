"""A whole stream on one machine, to watch and to measure: broker, worker, Prometheus, demo and bench.

Imports all rooms but commands; none of it runs in production.
"""
