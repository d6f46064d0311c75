"""Alerts as VOEvent 2.0 packets (Seaman et al. 2011, IVOA Recommendation).

What is said in which element: ``Who`` the issuer and the time; ``What`` every fact with unit and UCD;
``WhereWhen`` position and time of the spectrum; ``How`` the models and where the spectrum is; ``Why`` the
probabilities of being a CEMP star and of its subclasses; ``Citations`` the alert that this one follows up,
supersedes or retracts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote
from xml.etree import ElementTree as ET

from cempstream.plain import shown
from cempstream.processors.outcome import SUBCLASSES
from cempstream.schemas.alert import Alert
from cempstream.streams.exporters.facts import FINDING, IDENTITY, Fact, finite, headline, position, utc_text
from cempstream.streams.exporters.sink import ExportError
from cempstream.streams.wording import subclass_text

_NAMESPACE = "http://www.ivoa.net/xml/VOEvent/v2.0"
_INSTANCE = "http://www.w3.org/2001/XMLSchema-instance"
ET.register_namespace("voe", _NAMESPACE)
ET.register_namespace("xsi", _INSTANCE)

#: Authority, of three characters or more, and resource key of an IVOA identifier (Demleitner et al. 2016).
_IVOID = re.compile(r"ivo://[A-Za-z0-9][A-Za-z0-9._!~*'()+=-]{2,}/[A-Za-z0-9._!~*'()+=/-]+")

#: What a reader may follow: scheme and host, and the rest, which is quoted.
_ADDRESS = re.compile(r"((?:https?|ivo)://[A-Za-z0-9.-]+(?::[0-9]+)?)((?:[/?].*)?)", re.DOTALL)

#: Tenses of real observations; all others must move no telescope.
_REAL = ("current", "archival")

#: What an alert does with the one that it names: a further observation leaves the earlier ones right.
_CITES = {"subsequent": "followup", "update": "supersedes", "retraction": "retraction"}

_COORDINATES = "UTC-ICRS-TOPO"
_TYPES = {"text": "string", "int": "int", "float": "float"}


@dataclass(frozen=True, slots=True)
class Issuer:
    """Who issues packets.

    Attributes
    ----------
    ivoid
        Stream of the packets, ``ivo://authority/stream``: an authority that is registered with the IVOA, or
        for trials any name.
    contact_name, contact_email
        Whom a reader may ask; left out where empty.

    Raises
    ------
    ExportError
        `ivoid` is no IVOA identifier with a resource key.
    """

    ivoid: str
    contact_name: str = ""
    contact_email: str = ""

    def __post_init__(self) -> None:
        if not _IVOID.fullmatch(self.ivoid):
            raise ExportError(f"'{self.ivoid}' is no stream of packets; one is ivo://AUTHORITY/STREAM")

    def ivorn(self, alert_id: str) -> str:
        """Return the identifier of an alert's packet, the same for a repeated delivery."""
        return f"{self.ivoid}#{quote(alert_id, safe='')}"


def voevent(alert: Alert, issuer: Issuer, *, position_error_arcsec: float = 1.0) -> bytes:
    """Return an alert as one packet, UTF-8.

    Parameters
    ----------
    position_error_arcsec
        Radius that is stated with the position; the standard asks for one, and surveys give none.
    """
    root = ET.Element(
        f"{{{_NAMESPACE}}}VOEvent",
        {
            "version": "2.0",
            "role": "observation" if alert.alert_tense in _REAL else "test",
            "ivorn": issuer.ivorn(alert.alert_id),
            f"{{{_INSTANCE}}}schemaLocation": f"{_NAMESPACE} http://www.ivoa.net/xml/VOEvent/VOEvent-v2.0.xsd",
        },
    )
    _who(root, alert, issuer)
    _what(root, alert)
    _where_when(root, alert, position_error_arcsec)
    _how(root, alert)
    _why(root, alert)
    _citations(root, alert, issuer)
    _add(root, "Description", headline(alert))
    ET.indent(root)
    packet: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return packet


def _add(parent: ET.Element, tag: str, text: str | None = None, **attributes: str) -> ET.Element:
    """Add an element; text from outside is made printable, for XML has no control characters at all."""
    element = ET.SubElement(parent, tag, {name: shown(value) for name, value in attributes.items()})
    element.text = None if text is None else shown(text)
    return element


def _who(root: ET.Element, alert: Alert, issuer: Issuer) -> None:
    who = _add(root, "Who")
    _add(who, "AuthorIVORN", issuer.ivoid)
    _add(who, "Date", utc_text(alert.published_at))
    author = _add(who, "Author")
    _add(author, "title", f"cempstream {alert.code.version}")
    if issuer.contact_name:
        _add(author, "contactName", issuer.contact_name)
    if issuer.contact_email:
        _add(author, "contactEmail", issuer.contact_email)


def _what(root: ET.Element, alert: Alert) -> None:
    what = _add(root, "What")
    _params(what, IDENTITY, alert)
    _params(_add(what, "Group", name="finding", type="finding"), FINDING, alert)
    for model in alert.models:
        group = _add(what, "Group", name=model.name, type="model")
        for name in ("version", "sha256"):
            _add(group, "Param", name=name, value=getattr(model, name), ucd="meta.version", dataType="string")


def _params(parent: ET.Element, facts: tuple[Fact, ...], alert: Alert) -> None:
    for fact in facts:
        value = fact.get(alert)
        if value is None or value == "":
            continue
        text = repr(value) if isinstance(value, float) else str(value)
        unit = {"unit": fact.unit} if fact.unit else {}
        # An int of others may have 32 bits, and Gaia's ids have 64.
        form = _TYPES[fact.type] if not isinstance(value, int) or abs(value) < 2**31 else "string"
        param = _add(parent, "Param", name=fact.name, value=text, ucd=fact.ucd, dataType=form, **unit)
        _add(param, "Description", fact.meaning)


def _where_when(root: ET.Element, alert: Alert, error_arcsec: float) -> None:
    place, time = position(alert), utc_text(alert.observed_at)
    if place is None and time is None:
        return
    where = _add(root, "WhereWhen")
    location = _add(where, "ObsDataLocation")
    _add(location, "ObservatoryLocation", id="GEOSURFACE")
    observation = _add(location, "ObservationLocation")
    _add(observation, "AstroCoordSystem", id=_COORDINATES)
    coordinates = _add(observation, "AstroCoords", coord_system_id=_COORDINATES)
    if time is not None:
        _add(_add(_add(coordinates, "Time", unit="s"), "TimeInstant"), "ISOTime", time)
    if place is not None:
        circle = _add(coordinates, "Position2D", unit="deg")
        _add(circle, "Name1", "RA")
        _add(circle, "Name2", "Dec")
        values = _add(circle, "Value2")
        _add(values, "C1", repr(place[0]))
        _add(values, "C2", repr(place[1]))
        _add(circle, "Error2Radius", repr(error_arcsec / 3600.0))
        if (epoch := finite(alert.epoch)) is not None:
            _add(where, "Description", f"position at epoch J{epoch:.3f}; its error is nominal")


def _how(root: ET.Element, alert: Alert) -> None:
    how = _add(root, "How")
    _add(how, "Description", f"a spectrum of {alert.survey}, scored by cempstream with {alert.bundle}")
    if found := _ADDRESS.fullmatch(alert.spectrum_uri or ""):
        _add(how, "Reference", uri=found[1] + quote(found[2], safe="/?#@!$&'()*+,;=%~:"))


def _why(root: ET.Element, alert: Alert) -> None:
    importance = 0.0 if alert.alert_type == "retraction" else finite(alert.decision.priority)
    why = _add(root, "Why", **({} if importance is None else {"importance": repr(importance)}))
    p_cemp = finite(alert.p_cemp)
    if p_cemp is not None and 0.0 <= p_cemp <= 1.0:
        star = _add(why, "Inference", probability=repr(p_cemp), relation="classified")
        _add(star, "Name", alert.name)
        _add(star, "Concept", "carbon-enhanced metal-poor star")
        for name in SUBCLASSES:
            share = finite(getattr(alert.subclass_p, name))
            if name != "undetermined" and share is not None and 0.0 <= share <= 1.0:
                subclass = _add(
                    why, "Inference", probability=repr(round(p_cemp * share, 9)), relation="classified"
                )
                _add(subclass, "Concept", f"{subclass_text(name)} star")
    _add(why, "Description", headline(alert))


def _citations(root: ET.Element, alert: Alert, issuer: Issuer) -> None:
    cite = _CITES.get(alert.alert_type)
    if cite is None or alert.supersedes is None:
        return
    citations = _add(root, "Citations")
    _add(citations, "EventIVORN", issuer.ivorn(alert.supersedes), cite=cite)
    _add(citations, "Description", headline(alert))
