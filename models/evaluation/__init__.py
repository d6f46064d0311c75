"""Evaluation: the quality of a bundle on simulated and real spectra, written as a report.

Imports training, the simulator and the emulator; of streams, only commands import it.
"""
