"""The science: pure functions from spectra to estimates.

Imports numpy, scipy and ``cempstream.errors``; not the other layers, and not ``readers``.
"""
