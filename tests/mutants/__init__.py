"""Mutation tests: each changes one place of a module, and the module's own tests must notice."""
