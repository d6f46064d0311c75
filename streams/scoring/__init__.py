"""Scoring: from packets, files or a program's spectra to results, on models assembled from bundles.

Of the other rooms it imports the pictures alone, with which a result draws itself; it knows nothing of Kafka.
"""
