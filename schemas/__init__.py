"""What travels: packets of every kind in Avro and JSON, with their published schemas and samples.

Imports processors alone, and nothing that the base install does not have.
"""
