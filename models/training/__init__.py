"""Training: simulated stars in, a bundle out; needs the extra ``train``.

Imports the emulator, the simulator, the synthesis and torch; of streams, only commands import it.
"""
