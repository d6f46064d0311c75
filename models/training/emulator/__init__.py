"""Training of the emulator: the synthetic library in, the network of ``models.emulator`` out.

Imports what the rest of training imports.
"""
