"""Kafka, read and written: publisher, readers, topics, rights, messages, places, dead letters.

Imports no other room. ``places`` needs nothing but confluent-kafka, because subscribers import it.
"""
