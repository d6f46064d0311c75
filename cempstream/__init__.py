"""cempstream: carbon-enhanced metal-poor stars, found in a survey's spectra as they are reduced.

The names that most programs need are here. Each is imported when it is used, so that a subscriber needs only
the base install.

    from cempstream import AlertStream

    with AlertStream("broker:9092", start="-100", where="p_cemp > 0.95") as stream:
        for alert in stream:
            print(alert.name, alert.ra, alert.dec, alert.parameters.cfe.value)

and with the extra ``cpu``

    from cempstream import Classifier

    results = Classifier().classify("spectra/")
    print(results.candidates.table["spectrum_id", "p_cemp", "teff"])
"""

from __future__ import annotations

import os
from importlib import import_module

# ONNX Runtime from 1.29 on sends its maker the device's id, the interpreter's path and error messages. It
# reads this variable when it is loaded, and every process of ours imports this module first.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

# As type checkers know it. `typing` takes most of the time of this import, which every command waits for.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cempstream.processors.readers import read_spectra
    from cempstream.processors.spectrum import BadSpectrum, Spectrum
    from cempstream.schemas.alert import Alert
    from cempstream.schemas.codec import decode_spectrum, encode_spectrum
    from cempstream.schemas.score import Score
    from cempstream.streams.observing.known_stars import KnownStars
    from cempstream.streams.scoring.classifier import Classifier, classify
    from cempstream.streams.scoring.result import Result, Results
    from cempstream.streams.subscriber.alert_file import AlertFile
    from cempstream.streams.subscriber.client import AlertStream

__all__ = [
    "Alert",
    "AlertFile",
    "AlertStream",
    "BadSpectrum",
    "Classifier",
    "KnownStars",
    "Result",
    "Results",
    "Score",
    "Spectrum",
    "classify",
    "decode_spectrum",
    "encode_spectrum",
    "read_spectra",
]

_HOMES = {
    "Alert": "schemas.alert",
    "AlertFile": "streams.subscriber.alert_file",
    "AlertStream": "streams.subscriber.client",
    "BadSpectrum": "processors.spectrum",
    "Classifier": "streams.scoring.classifier",
    "KnownStars": "streams.observing.known_stars",
    "Result": "streams.scoring.result",
    "Results": "streams.scoring.result",
    "Score": "schemas.score",
    "Spectrum": "processors.spectrum",
    "classify": "streams.scoring.classifier",
    "decode_spectrum": "schemas.codec",
    "encode_spectrum": "schemas.codec",
    "read_spectra": "processors.readers",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for (PEP 562)."""
    if name == "__version__":
        from importlib.metadata import version

        return version("cempstream")
    if name not in _HOMES:
        raise AttributeError(f"module 'cempstream' has no attribute '{name}'")
    try:
        found = getattr(import_module(f"cempstream.{_HOMES[name]}"), name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("cempstream"):
            raise
        from cempstream.errors import install_hint

        raise ModuleNotFoundError(
            f"cempstream.{name} needs {error.name}, which is not installed: {install_hint('cpu')}",
            name=error.name,
        ) from error
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
