"""The command line: one module for each verb, named as the verb.

Imports all rooms, and alone those of models that train and evaluate; no room imports it.
"""
