"""Stars: what several spectra of one star say together, as pure functions of the set of its observations.

It imports the values and processors of this layer and no other room.
"""
