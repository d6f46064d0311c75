"""The errors of the synthesis: of its setup, and of a single star."""

from __future__ import annotations

from cempstream.errors import FixableError


class SynthesisError(FixableError, RuntimeError):
    """The synthesis cannot start: a compiler or a package is missing. The message says what to install."""


class SynspecFailed(RuntimeError):
    """Synspec gave no usable spectrum for one star."""
