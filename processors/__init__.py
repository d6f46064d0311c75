"""The science: pure functions from spectra to estimates.

Imports numpy, scipy and ``cempstream.errors``; nothing of the other layers, and nothing of ``readers``.
"""
