"""Alerts as others' alert systems read them: one module per format, and what it sends them with.

Imports ``subscriber`` and no other room; each module imports what its format needs of the extra
``exporters``. ``tom`` is a Django app, for a TOM's own environment.
"""
