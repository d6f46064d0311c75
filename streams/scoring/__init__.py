"""Scoring: from packets, files or a program's spectra to results, with models from bundles.

Of the other rooms it imports only the pictures, which draw a result; it knows nothing of Kafka.
"""
