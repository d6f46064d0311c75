"""What becomes of an alert in a TOM: a target, its spectrum, and what is known of it.

A star is one target, by its survey and name, whatever number of alerts. Its extra fields hold what the
newest alert says; ``cemp_status`` is ``candidate`` or ``retracted``, and the target stands in the group of
that name. A target that is retracted stays: observations may hang on it. A repeated alert changes nothing,
and neither does an older one that comes late, but for its spectrum.
"""

from __future__ import annotations

import logging
from datetime import datetime
from itertools import chain
from typing import Any
from uuid import NAMESPACE_URL, uuid4, uuid5

import numpy as np
from django.core.exceptions import ValidationError
from django.db import transaction
from tom_dataproducts.models import SpectroscopyReducedDatum
from tom_targets.models import Target, TargetExtra, TargetList

from cempstream.plain import shown
from cempstream.schemas.alert import Alert
from cempstream.streams.exporters.facts import FACTS, finite, headline, position

logger = logging.getLogger(__name__)

SOURCE = "cempstream"

#: Groups of targets, by ``cemp_status``.
GROUPS = {"candidate": "CEMP candidates", "retracted": "CEMP candidates, retracted"}

#: Facts that are fields of a target itself, or its spectrum's.
_ELSEWHERE = ("name", "ra", "dec", "epoch", "observed_at", "spectrum_id")

_LONGEST_NAME = 100

#: The TOM Toolkit (3.1) writes names into scripts of its pages as they are. So what could end a text there,
#: or begin markup, is replaced by what looks like it.
_LOOKALIKES = str.maketrans({"<": "‹", ">": "›", "&": "+", '"': "”", "'": "’", "`": "’", "\\": "/"})

#: As astropy reads them; relative fluxes have no unit.
_FLUX_UNITS = {"absolute": "1e-17 erg / (s cm2 Angstrom)", "relative": ""}


def ingest_alert(alert: Alert) -> Any:
    """Create or update the target of an alert, and add its spectrum.

    Returns
    -------
    tom_targets.models.Target or None
        None where the alert has no position: nothing can be pointed there.
    """
    place = position(alert)
    if place is None:
        logger.warning("%s has no position and becomes no target", shown(alert.name))
        return None
    with transaction.atomic():
        target = _target_of(alert, place)
        if _is_news(target, alert):
            _update(target, alert, place)
        _add_spectrum(target, alert)
    return target


def _target_of(alert: Alert, place: tuple[float, float]) -> Any:
    """Return the target of a star, which is made where there is none."""
    star = str(uuid5(NAMESPACE_URL, f"{alert.survey}\n{alert.name}"))  # a name itself could hold anything
    known = TargetExtra.objects.filter(key="cemp_star", value=star).select_related("target").first()
    if known is not None:
        return Target.objects.get(pk=known.target_id)
    target = Target(name=_free_name(alert), type=Target.SIDEREAL, ra=place[0], dec=place[1])
    target.save(extras={"cemp_star": star})
    return target


def _free_name(alert: Alert) -> str:
    """Return a name that no other target has: the star's, its survey's too, or the alert's id with it."""
    name, survey, alert_id = tame(alert.name), tame(alert.survey), tame(alert.alert_id)
    for candidate in (name, f"{survey} {name}", f"{name[:50]} {alert_id}"):
        short = candidate[:_LONGEST_NAME]
        if not Target.objects.filter(name=short).exists():
            return short
    return str(uuid4())


def tame(text: object) -> str:
    """Return text from outside that no page of a TOM obeys."""
    return shown(text).translate(_LOOKALIKES)


def _is_news(target: Any, alert: Alert) -> bool:
    """Say whether an alert is not older than what the target's fields are from."""
    said = TargetExtra.objects.filter(target=target, key="cemp_published_at").first()
    return said is None or datetime.fromisoformat(said.value) <= alert.published_at


def _update(target: Any, alert: Alert, place: tuple[float, float]) -> None:
    (target.ra, target.dec), target.epoch = place, finite(alert.epoch)
    status = "retracted" if alert.alert_type == "retraction" else "candidate"
    facts = {
        f"cemp_{fact.name}": "" if (value := fact.get(alert)) is None else tame(value)
        for fact in FACTS
        if fact.name not in _ELSEWHERE
    }
    moment = {"cemp_published_at": alert.published_at.isoformat()}
    target.save(extras=facts | moment | {"cemp_status": status, "cemp_headline": tame(headline(alert))})
    for of, name in GROUPS.items():
        group, _ = TargetList.objects.get_or_create(name=name)
        (group.targets.add if of == status else group.targets.remove)(target)


def _add_spectrum(target: Any, alert: Alert) -> None:
    """Add the alert's spectrum, unless the target has it."""
    spectrum = alert.spectrum
    if spectrum is None:
        return
    good = np.isfinite(spectrum.flux) & np.isfinite(spectrum.ivar) & (spectrum.ivar > 0)
    if spectrum.mask is not None:
        good &= spectrum.mask == 0
    datum = SpectroscopyReducedDatum(
        target=target,
        timestamp=alert.observed_at or alert.reduced_at,
        telescope=tame(alert.survey)[:255],
        instrument=tame("+".join(alert.gratings))[:255],
        reduction_version=tame(alert.reduction_version)[:50],
        source_name=SOURCE,
        wavelength=spectrum.grid.wave[good].astype(float).tolist(),
        wavelength_unit="Angstrom",
        flux=spectrum.flux[good].astype(float).tolist(),
        error=(1.0 / np.sqrt(spectrum.ivar[good].astype(float))).tolist(),
        flux_unit=_FLUX_UNITS[spectrum.flux_unit],
        value={
            "alert_id": tame(alert.alert_id),
            "spectrum_id": tame(spectrum.spectrum_id),
            "medium": spectrum.medium,
            "frame": spectrum.frame,
            "n_coadded": alert.n_coadded,
        },
    )
    try:
        datum.save()
    except ValidationError as error:
        if any(
            problem.code != "unique_together" for problem in chain.from_iterable(error.error_dict.values())
        ):
            raise
