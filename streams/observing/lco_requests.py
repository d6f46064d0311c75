"""Requests for the queue of Las Cumbres Observatory and of the telescopes that share it (AEON).

The fields are those that the Observation Portal takes at ``/api/requestgroups/`` (developers.lco.global,
"Observations"); its ``/api/requestgroups/validate/`` checks them against the instruments of the day.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from cempstream.errors import FixableError
from cempstream.plain import shown
from cempstream.streams.observing.instrument import Lco
from cempstream.streams.observing.target_list import Target, TargetList

#: The portal takes no longer name.
_LONGEST_NAME = 50
_USUAL_EPOCH = 2000.0


class NoQueue(FixableError, ValueError):
    """The instrument's file does not say how LCO's queue calls it."""


def request_groups(plan: TargetList, proposal: str) -> list[dict[str, Any]]:
    """Return one request group for each target, in the order of time.

    Parameters
    ----------
    proposal
        LCO's code of the proposal that pays.

    Raises
    ------
    NoQueue
        The instrument has no table ``[lco]``.
    """
    lco = plan.instrument.lco
    if lco is None:
        raise NoQueue(
            f"{plan.instrument.name} has no table [lco], so it has no requests; goodman-soar shows one"
        )
    return [_request_group(target, plan, lco, proposal) for target in plan.targets]


def write_requests(plan: TargetList, proposal: str, path: Path) -> None:
    """Write the request groups as a JSON list.

    Raises
    ------
    NoQueue
        The instrument has no table ``[lco]``.
    """
    groups = request_groups(plan, proposal)
    path.write_text(json.dumps(groups, indent=2, ensure_ascii=True, allow_nan=False) + "\n", encoding="ascii")


def _request_group(target: Target, plan: TargetList, lco: Lco, proposal: str) -> dict[str, Any]:
    night = plan.night
    window = {"start": f"{night.begin:%Y-%m-%dT%H:%M:%SZ}", "end": f"{night.end:%Y-%m-%dT%H:%M:%SZ}"}
    return {
        "name": shown(target.star.name, longest=_LONGEST_NAME),
        "proposal": proposal,
        "ipp_value": 1.0,
        "operator": "SINGLE",
        "observation_type": "NORMAL",
        "requests": [
            {
                "observation_note": f"cempstream alert {shown(target.star.alert_id, longest=60)}",
                "optimization_type": "TIME",
                "acceptability_threshold": 100,
                "configuration_repeats": 1,
                "configurations": [_configuration(target, plan, lco)],
                "windows": [window],
                "location": {"telescope_class": lco.telescope_class},
            }
        ],
    }


def _configuration(target: Target, plan: TargetList, lco: Lco) -> dict[str, Any]:
    star, limits = target.star, plan.instrument.limits
    return {
        "type": lco.configuration_type,
        "instrument_type": lco.instrument_type,
        "instrument_configs": [
            {
                "exposure_time": math.ceil(target.exposure_s),
                "exposure_count": target.n_exposures,
                "mode": lco.mode,
                "rotator_mode": lco.rotator_mode,
                "optical_elements": dict(lco.optical_elements),
                "extra_params": {},
            }
        ],
        "acquisition_config": {"mode": lco.acquisition_mode, "extra_params": {}},
        "guiding_config": {"mode": lco.guiding_mode, "optional": False, "extra_params": {}},
        "constraints": {
            "max_airmass": limits.max_airmass,
            "min_lunar_distance": limits.min_moon_distance_deg,
            "max_lunar_phase": 1.0,
        },
        "target": {
            "name": shown(star.name, longest=_LONGEST_NAME),
            "type": "ICRS",
            "ra": star.ra_deg,
            "dec": star.dec_deg,
            "proper_motion_ra": 0.0,
            "proper_motion_dec": 0.0,
            "parallax": 0.0,
            "epoch": star.epoch or _USUAL_EPOCH,
        },
    }
