"""The subscriber: a client of the alert stream with its filters, and alerts in files.

Imports only ``kafka.places`` and observing, and nothing beyond the base install.
"""
