"""What observers do with alerts: known stars, watchlists and regions of the sky, and tonight's targets.

Imports no other room. What finds known stars runs in the base install; what reads astronomers' tables needs
the extra ``observing``.
"""
