"""What a person can mend, and what one star can do wrong."""

from __future__ import annotations

from cempstream.errors import FixableError


class SynthesisError(FixableError, RuntimeError):
    """The synthesis cannot start: a compiler or a package is missing. The message says what to install."""


class SynspecFailed(RuntimeError):
    """Synspec gave no usable spectrum for one star."""
