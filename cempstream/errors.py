"""Errors that a person can fix: a command ends on one with a line and status 1, never with a traceback.

    FixableError
    ├── what was given     AddressError, BadSpectrum, BenchmarkError, CatalogueError, ExportError,
    │                      FilterError, InstrumentError, MemoryFileError, NoNight, NoQueue,
    │                      SchemaError, SettingsError, SiteError, TimeError, TruthError, Unanswerable,
    │                      UndecodableError, UnreadableFile, WeightError
    ├── the models         BundleError, ModelBroken, NoLooseThreshold, NoPurity, ProviderUnavailable,
    │                      SynthesisError, UnfitLibrary
    ├── the installation   NoSpecutils
    ├── the stream         AddressInUse, ArchiveError, CannotListen, CredentialsRefused, CredentialsRenewed,
    │                      DeliveryFailed, NoAnswer, NoBroker, NoSuchStar, NoSuchTopic, NotDelivered,
    │                      NotReady, RegistryError, StreamError, UnfitTopics
    └── a rehearsal        BrokerError, MonitorError, Unaccounted, WorkerFailed

Each is defined in the module that raises it and keeps its builtin base (``ValueError`` and so on). Every
layer may import this module, so it imports nothing that the base install lacks.
"""

from __future__ import annotations

import sys

from cempstream.plain import shown


class FixableError(Exception):
    """The base of them; the message says what was wrong and what would be right."""


def fixable_errors() -> tuple[type[Exception], ...]:
    """Return the errors on which a command ends with one line: ours, the system's, and those of libraries.

    A library that was not imported cannot have raised anything.
    """
    theirs = (("confluent_kafka", "KafkaException"), ("pydantic", "ValidationError"))
    found = (getattr(sys.modules.get(module), name, None) for module, name in theirs)
    return (FixableError, OSError, *(error for error in found if error is not None))


def in_one_line(error: Exception) -> str:
    """Say an error of `fixable_errors` in one line for a person."""
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    elif hasattr(error, "errors"):  # pydantic's
        problems = (
            f"{'.'.join(map(str, problem['loc']))}: {problem['msg'].removeprefix('Value error, ')}"
            for problem in error.errors()
        )
        text = f"{getattr(error, 'title', '')}: {'; '.join(problems)}"
    elif error.args and hasattr(error.args[0], "str"):  # a KafkaException holds a KafkaError
        text = f"Kafka: {error.args[0].str() or error.args[0].name()}"
    else:
        text = str(error) or type(error).__name__
    return shown(" ".join(text.split()))


def install_hint(extra: str) -> str:
    """Say how an extra is installed, from an index and from a checkout."""
    return f"pip install 'cempstream[{extra}]', or in a checkout: pip install '.[{extra}]'"
