"""The packets of every kind in Avro and JSON, with their published schemas and samples.

Imports only processors, and nothing that the base install does not have.
"""
