"""Stellar labels to spectra in microseconds: a network that stands in for the spectrum synthesis.

``emulator`` runs it (ONNX Runtime); ``models.training.emulator`` makes it from the synthetic library.
Imports processors alone.
"""
