"""A Django app for TOM Toolkit 3: alerts become targets with spectra in an observatory's own TOM.

``alertstream`` is the stream for tom-alertstreams' ``readstreams``, ``ingest`` what becomes of an alert, and
``manage.py ingestalerts`` reads a recorded file. Imports of this package what the base install has, beside
Django and the TOM Toolkit, which are those of the TOM.
"""
