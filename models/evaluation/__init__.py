"""Evaluation: what a bundle is worth, on simulated and on real spectra, written as a report.

Imports training, the simulator and the emulator; of streams, only commands import it.
"""
