"""Scoring: from packets or files to outcomes, on models assembled from bundles.

Imports no other room and knows nothing of Kafka.
"""
