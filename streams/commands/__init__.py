"""The command line: one module for each verb, with the verb's name.

Imports all rooms; only it imports those of models that train and evaluate. No room imports it.
"""
