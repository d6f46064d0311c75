"""What tests share: spectra, surveys' files, fakes and whole nights.

Imports cempstream and the test libraries; imports nothing of the tests.
"""
