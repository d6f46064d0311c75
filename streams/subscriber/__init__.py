"""The subscriber: a client of the alert stream with its filters, and alerts in files.

Imports ``kafka.places`` alone, and no more than the base install has.
"""
