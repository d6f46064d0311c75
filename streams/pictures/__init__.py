"""Spectra explained: findings, the pictures and pages of them, and their wording.

Imports no other room.
"""
