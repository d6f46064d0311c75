"""A target list as files: ECSV, CSV, and the stars that were left out with their reasons."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from astropy import units as u
from astropy.table import MaskedColumn, Table

from cempstream.plain import csv_cell, shown
from cempstream.streams.observing.candidates import WHY_TEXT
from cempstream.streams.observing.links import finding_links
from cempstream.streams.observing.target_list import Target, TargetList

#: Columns, in their order, with unit and description.
COLUMNS: Mapping[str, tuple[Any, str]] = {
    "order": (None, "Order of time"),
    "name": (None, "The survey's name of the star"),
    "survey": (None, "Survey of the alert"),
    "alert_id": (None, "The newest alert of the star"),
    "gaia_source_id": (None, "Gaia source identifier"),
    "ra": (u.deg, "Right ascension, ICRS"),
    "dec": (u.deg, "Declination, ICRS"),
    "epoch": (u.yr, "Epoch of the position"),
    "band": (None, "Band of the magnitude"),
    "magnitude": (u.mag, "Magnitude in the band's own system"),
    "p_cemp": (None, "Probability that the star is CEMP"),
    "expected_purity": (None, "Share of right ones among all alerts of this S/N"),
    "chance": (None, "The lower of both, which the plan counts"),
    "teff": (u.K, "Effective temperature"),
    "feh": (None, "[Fe/H]"),
    "feh_lo": (None, "Lower end of its 68 % interval"),
    "feh_hi": (None, "Upper end of it"),
    "cfe": (None, "[C/Fe]"),
    "cfe_lo": (None, "Lower end of its 68 % interval"),
    "cfe_hi": (None, "Upper end of it"),
    "subclass": (None, "Most probable subclass"),
    "p_emp": (None, "Probability that [Fe/H] < -3"),
    "bits": (None, "What the spectrum teaches"),
    "value": (None, "What the spectrum is worth; 1 is one ordinary CEMP star"),
    "begin": (None, "When to point, UTC"),
    "end": (None, "End of the last readout, UTC"),
    "exposure": (u.s, "Length of one exposure"),
    "n_exposures": (None, "Number of exposures"),
    "snr": (None, "S/N a pixel that is reached"),
    "airmass": (None, "In the middle of the visit"),
    "moon_distance": (u.deg, "Distance of the Moon"),
    "aladin": (None, "Finding chart"),
    "legacy_survey": (None, "Finding chart"),
    "simbad": (None, "What is known there"),
}

#: Digits after the point; 3 otherwise.
_DIGITS = {"ra": 7, "dec": 7, "p_cemp": 5, "teff": 0, "exposure": 0, "snr": 1, "moon_distance": 1, "epoch": 4}


def target_row(order: int, target: Target) -> dict[str, Any]:
    """Return a target under the names of `COLUMNS`; None where a value is not known."""
    star, parameters = target.star, target.star.parameters
    feh, cfe = parameters["feh"], parameters["cfe"]
    row = {
        "order": order,
        "name": star.name,
        "survey": star.survey,
        "alert_id": star.alert_id,
        "gaia_source_id": star.gaia_source_id,
        "ra": star.ra_deg,
        "dec": star.dec_deg,
        "epoch": star.epoch,
        "band": star.band,
        "magnitude": star.magnitude,
        "p_cemp": star.p_cemp,
        "expected_purity": star.expected_purity,
        "chance": target.worth.chance,
        "teff": parameters["teff"].value,
        **{"feh": feh.value, "feh_lo": feh.lo, "feh_hi": feh.hi},
        **{"cfe": cfe.value, "cfe_lo": cfe.lo, "cfe_hi": cfe.hi},
        "subclass": star.subclass,
        "p_emp": target.worth.p_emp,
        "bits": target.worth.bits,
        "value": target.worth.value,
        "begin": f"{target.begin:%Y-%m-%dT%H:%M:%SZ}",
        "end": f"{target.end:%Y-%m-%dT%H:%M:%SZ}",
        "exposure": target.exposure_s,
        "n_exposures": target.n_exposures,
        "snr": target.snr,
        "airmass": target.airmass,
        "moon_distance": target.moon_distance_deg,
        **finding_links(star.ra_deg, star.dec_deg),
    }
    return {name: _rounded(name, value) for name, value in row.items()}


def _rounded(name: str, value: Any) -> Any:
    """Round a number to what is known of it; None where it is not a number."""
    if not isinstance(value, float):
        return value
    return round(value, _DIGITS.get(name, 3)) if math.isfinite(value) else None


def write_targets(plan: TargetList, folder: Path) -> list[Path]:
    """Write ``targets.ecsv``, ``targets.csv`` and ``left-out.csv``; return their paths."""
    rows = [target_row(order, target) for order, target in enumerate(plan.targets, start=1)]
    paths = [folder / name for name in ("targets.ecsv", "targets.csv", "left-out.csv")]
    _table(plan, rows).write(paths[0], format="ascii.ecsv", overwrite=True)
    _write_csv(paths[1], list(COLUMNS), rows)
    left = (
        {"name": one.name, "alert_id": one.alert_id, "reason": one.why.value, "detail": one.detail,
         "meaning": WHY_TEXT[one.why]}
        for one in plan.left_out
    )  # fmt: skip
    _write_csv(paths[2], ["name", "alert_id", "reason", "detail", "meaning"], left)
    return paths


def _table(plan: TargetList, rows: list[dict[str, Any]]) -> Table:
    table = Table(meta=_meta(plan))
    text = {
        "name",
        "survey",
        "alert_id",
        "band",
        "subclass",
        "begin",
        "end",
        "aladin",
        "legacy_survey",
        "simbad",
    }
    whole = {"order", "gaia_source_id", "n_exposures"}
    for name, (unit, description) in COLUMNS.items():
        kind: Any = "U" if name in text else "i8" if name in whole else "f8"
        blank: Any = "" if name in text else 0
        values = [row[name] for row in rows]
        filled = [blank if value is None else shown(value) if name in text else value for value in values]
        column = MaskedColumn(
            filled,
            dtype="U1" if kind == "U" and not filled else None if kind == "U" else kind,
            unit=unit,
            description=description,
            mask=[value is None for value in values],
        )
        table[name] = column
    return table


def _meta(plan: TargetList) -> dict[str, Any]:
    night = plan.night
    return {
        "site": night.site.name,
        "latitude_deg": night.site.lat_deg,
        "longitude_deg": night.site.lon_deg,
        "height_m": night.site.height_m,
        "night": night.date.isoformat(),
        "begin": f"{night.begin:%Y-%m-%dT%H:%M:%SZ}",
        "hours": night.hours,
        "instrument": plan.instrument.name,
        "question": plan.question.text,
        "snr": round(plan.snr, 2),
        "expected_cemp": round(plan.expected_cemp, 2),
        "expected_emp": round(plan.expected_emp, 2),
        "left_out": {why.value: n for why, n in sorted(plan.reasons.items())},
    }


def _write_csv(path: Path, names: list[str], rows: Iterator[dict[str, Any]] | list[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, names, lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({name: csv_cell(value) for name, value in row.items()})
