"""Links to finding charts of others; nothing is fetched."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode


def finding_links(ra_deg: float, dec_deg: float) -> Mapping[str, str]:
    """Return addresses that show a place of the sky: ``aladin``, ``legacy_survey`` and ``simbad``.

    Parameters
    ----------
    ra_deg, dec_deg
        ICRS.
    """
    place = f"{ra_deg:.6f} {dec_deg:+.6f}"
    at = {"ra": f"{ra_deg:.6f}", "dec": f"{dec_deg:.6f}"}
    legacy = at | {"layer": "ls-dr10", "zoom": "15", "mark": f"{ra_deg:.6f},{dec_deg:.6f}"}
    simbad = {"Coord": place, "CooFrame": "ICRS", "Radius": "10", "Radius.unit": "arcsec"}
    return {
        "aladin": "https://aladin.cds.unistra.fr/AladinLite/?" + urlencode({"target": place, "fov": "0.1"}),
        "legacy_survey": "https://www.legacysurvey.org/viewer?" + urlencode(legacy),
        "simbad": "https://simbad.cds.unistra.fr/simbad/sim-coo?" + urlencode(simbad),
    }
