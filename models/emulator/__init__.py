"""Stellar labels to spectra in microseconds: a network that replaces the spectrum synthesis.

``emulator`` runs it (ONNX Runtime); ``models.training.emulator`` makes it from the synthetic library.
Imports only processors.
"""
