"""The subscriber's filter: ``p_cemp > 0.95 and snr > 20 and survey in ("lamost", "desi")``.

The text has Python's grammar for comparisons. It is read with `ast` and turned into closures node by node;
anything not listed here is refused with a message, and nothing is ever evaluated as code. Types are checked
when the filter is made, not when the first alert comes.

A comparison with a value that an alert does not have (no magnitude in that band, NaN) does not hold.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from typing import Any, NoReturn

from cempstream.errors import FixableError
from cempstream.processors.bands import CEMP_BANDS
from cempstream.processors.outcome import PARAMETERS, SUBCLASSES
from cempstream.schemas.alert import Alert

_MAX_CHARS = 2_000

Getter = Callable[[Alert], Any]
Predicate = Callable[[Alert], bool]


class FilterError(FixableError, ValueError):
    """A filter cannot be understood; the message says what is wrong and what would be right."""


class _Type(StrEnum):
    NUMBER = "a number"
    TEXT = "a text"
    TEXTS = "a list of texts"
    NUMBERS = "a list of numbers"
    TRUTH = "a condition"


@dataclass(frozen=True, slots=True)
class _Term:
    """A part of the expression: what it is and how to get it from an alert."""

    type: _Type
    get: Getter


def _attribute(name: str) -> Getter:
    return operator.attrgetter(name)


#: Names of numbers, and where an alert has them if not under the same name.
_NUMBERS: Mapping[str, str] = {
    **dict.fromkeys(("ra", "dec", "epoch", "snr", "p_cemp", "p_cemp_corrected", "cfe_corrected"), ""),
    **dict.fromkeys(("rv_kms", "rv_error_kms", "ood_score", "revision", "healpix29", "gaia_source_id"), ""),
    **dict.fromkeys(("n_observations", "n_coadded", "expected_purity"), ""),
    **{name: f"parameters.{name}.value" for name in PARAMETERS},
    **{f"{name}_lo": f"parameters.{name}.lo" for name in PARAMETERS},
    **{f"{name}_hi": f"parameters.{name}.hi" for name in PARAMETERS},
    **{f"p_{name.removeprefix('cemp_')}": f"subclass_p.{name}" for name in SUBCLASSES},
    "priority": "decision.priority",
    "threshold": "decision.threshold",
    "chi2": "template.chi2",
}
_TEXTS = (
    *("survey", "subclass", "name", "object_id", "spectrum_id", "exposure_id", "reduction_version"),
    *("bundle", "alert_id", "record_id", "alert_type", "alert_tense"),
)

#: Where an alert's schema has what a name stands for.
PATHS: Mapping[str, str] = {
    **{name: path or name for name, path in _NUMBERS.items()},
    **{name: name for name in (*_TEXTS, "flags", "gratings")},
    "name": "object_id",
    "bands": "bands.name",
    "is_candidate": "decision.is_candidate",
    "compared_with": "compared_with",
    "catalogues": "matches.catalogue",
    "nearest_arcsec": "matches.separation_arcsec",
}

#: What the names mean that stand for more than a field.
MEANINGS: Mapping[str, str] = {
    "has_position": "Whether the alert says where the star is.",
    "known": "Whether a star of a catalogue of known stars is at the position.",
    "in_watchlist": "Whether a star of a watchlist is at the position.",
    "in_region": "Whether the position lies in one of the regions.",
    "catalogues": "Names of the catalogues and watchlists with a star at the position, and of the regions.",
    "nearest_arcsec": "Separation from the nearest star of all catalogues and watchlists. Unit: arcsec.",
}

#: Line indices that alerts hold, as ``line_<index>``.
LINES = (*(band.name for band in CEMP_BANDS), "kp")

#: Every name that a filter may use, besides ``mag_<band>`` and ``line_<index>``.
FIELDS: Mapping[str, _Term] = {
    **{name: _Term(_Type.NUMBER, _attribute(path or name)) for name, path in _NUMBERS.items()},
    **{name: _Term(_Type.TEXT, _attribute(name)) for name in _TEXTS},
    "flags": _Term(_Type.TEXTS, _attribute("flags")),
    "gratings": _Term(_Type.TEXTS, _attribute("gratings")),
    "bands": _Term(_Type.TEXTS, lambda alert: tuple(band.name for band in alert.bands)),
    "is_candidate": _Term(_Type.TRUTH, _attribute("decision.is_candidate")),
    "has_position": _Term(_Type.TRUTH, lambda alert: alert.ra is not None and alert.dec is not None),
    "known": _Term(_Type.TRUTH, lambda alert: _has_match(alert, "known")),
    "in_watchlist": _Term(_Type.TRUTH, lambda alert: _has_match(alert, "watchlist")),
    "in_region": _Term(_Type.TRUTH, lambda alert: _has_match(alert, "region")),
    "catalogues": _Term(_Type.TEXTS, lambda alert: tuple(match.catalogue for match in alert.matches)),
    "compared_with": _Term(_Type.TEXTS, _attribute("compared_with")),
    "nearest_arcsec": _Term(
        _Type.NUMBER,
        lambda alert: next((match.separation_arcsec for match in alert.matches), None),  # they are sorted
    ),
}

_ORDERINGS: Mapping[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


def compile_where(text: str) -> Predicate:
    """Return the function that says whether an alert passes.

    Raises
    ------
    FilterError
        The text is not a condition on the fields of an alert.
    """
    if len(text) > _MAX_CHARS:
        raise FilterError(f"the filter has {len(text)} characters; at most {_MAX_CHARS} are read")
    try:
        tree = ast.parse(text.strip(), mode="eval")
        term = _term(tree.body)
    except SyntaxError as error:
        raise FilterError(f"'{text}' is not an expression: {error.msg}") from error
    except (ValueError, RecursionError, MemoryError) as error:
        if isinstance(error, FilterError):
            raise
        raise FilterError(f"the filter cannot be read: {error}") from error
    if term.type is not _Type.TRUTH:
        raise FilterError(f"'{text}' is {term.type}, not a condition; write for example p_cemp > 0.95")
    return lambda alert: bool(term.get(alert))


def _term(node: ast.expr) -> _Term:
    match node:
        case ast.BoolOp(op=op, values=values):
            return _logic(op, [_condition(value) for value in values])
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            inner = _condition(operand)
            return _Term(_Type.TRUTH, lambda alert: not inner(alert))
        case ast.UnaryOp(
            op=ast.USub() | ast.UAdd() as op, operand=ast.Constant(value=int() | float() as value)
        ):
            return _constant(-value if isinstance(op, ast.USub) else value)
        case ast.Compare(left=left, ops=ops, comparators=comparators):
            return _comparison([left, *comparators], ops)
        case ast.Constant(value=value):
            return _constant(value)
        case ast.Tuple(elts=items) | ast.List(elts=items) | ast.Set(elts=items):
            return _list(items)
        case ast.Name(id=name):
            return _field(name)
    _refuse(node)


def _refuse(node: ast.expr) -> NoReturn:
    raise FilterError(
        f"'{ast.unparse(node)}' is not understood: a filter has fields, numbers, texts, comparisons, "
        "'in', 'and', 'or' and 'not'"
    )


def _condition(node: ast.expr) -> Getter:
    term = _term(node)
    if term.type is not _Type.TRUTH:
        raise FilterError(f"'{ast.unparse(node)}' is {term.type}, not a condition")
    return term.get


def _logic(op: ast.boolop, conditions: list[Getter]) -> _Term:
    if isinstance(op, ast.And):
        return _Term(_Type.TRUTH, lambda alert: all(holds(alert) for holds in conditions))
    return _Term(_Type.TRUTH, lambda alert: any(holds(alert) for holds in conditions))


def _constant(value: object) -> _Term:
    if isinstance(value, bool):
        kind = _Type.TRUTH
    elif isinstance(value, int | float):
        kind = _Type.NUMBER
    elif isinstance(value, str):
        kind = _Type.TEXT
    else:
        raise FilterError(f"{value!r} is neither a number nor a text")
    return _Term(kind, lambda alert: value)


def _list(items: list[ast.expr]) -> _Term:
    terms = [_term(item) for item in items]
    for node in items:
        if not isinstance(node, ast.Constant | ast.UnaryOp):
            raise FilterError(f"'{ast.unparse(node)}' cannot stand in a list; numbers and texts can")
    kinds = {term.type for term in terms}
    if kinds == {_Type.NUMBER}:
        kind = _Type.NUMBERS
    elif kinds == {_Type.TEXT}:
        kind = _Type.TEXTS
    else:
        raise FilterError("a list holds numbers or texts, not both, and at least one")
    values = tuple(term.get(None) for term in terms)  # type: ignore[arg-type] # constants look at no alert
    return _Term(kind, lambda alert: values)


def _field(name: str) -> _Term:
    if name in FIELDS:
        return FIELDS[name]
    prefix, _, key = name.partition("_")
    if prefix == "mag" and key:
        return _Term(_Type.NUMBER, lambda alert: _value_of(alert.photometry, key, "mag"))
    if prefix == "line" and key in LINES:
        return _Term(_Type.NUMBER, lambda alert: _value_of(alert.lines, key, "value"))
    near = get_close_matches(name, (*FIELDS, *(f"line_{line}" for line in LINES)), n=1)
    hint = (
        f"did you mean '{near[0]}'?" if near else f"there are {', '.join(FIELDS)}, mag_<band>, line_<index>"
    )
    raise FilterError(f"'{name}' is not a field of an alert; {hint}")


def _has_match(alert: Alert, kind: str) -> bool:
    return any(match.kind == kind for match in alert.matches)


def _value_of(table: Mapping[str, Any], key: str, attribute: str) -> Any:
    return getattr(table[key], attribute) if key in table else None


def _comparison(nodes: list[ast.expr], ops: list[ast.cmpop]) -> _Term:
    terms = [_term(node) for node in nodes]
    pairs = [
        _pair(nodes[i], op, nodes[i + 1], terms[i], terms[i + 1]) for i, op in enumerate(ops)
    ]  # a < b < c is a < b and b < c
    return _Term(_Type.TRUTH, lambda alert: all(holds(alert) for holds in pairs))


def _pair(left_node: ast.expr, op: ast.cmpop, right_node: ast.expr, left: _Term, right: _Term) -> Getter:
    kinds = (left.type, right.type)
    if isinstance(op, ast.In | ast.NotIn):
        allowed = kinds in (
            (_Type.TEXT, _Type.TEXTS),
            (_Type.NUMBER, _Type.NUMBERS),
            (_Type.TEXT, _Type.TEXT),
        )
        wants_in = isinstance(op, ast.In)
        compare: Callable[[Any, Any], bool] = lambda a, b: (a in b) is wants_in  # noqa: E731
    elif type(op) in _ORDERINGS:
        allowed = kinds == (_Type.NUMBER, _Type.NUMBER)
        compare = _ORDERINGS[type(op)]
    elif isinstance(op, ast.Eq | ast.NotEq):
        allowed = left.type is right.type and left.type in (_Type.NUMBER, _Type.TEXT, _Type.TRUTH)
        compare = operator.eq if isinstance(op, ast.Eq) else operator.ne
    else:
        raise FilterError("'is' is not understood; write == or !=")
    if not allowed:
        raise FilterError(
            f"'{ast.unparse(left_node)}' is {left.type} and '{ast.unparse(right_node)}' {right.type}: "
            "these cannot be compared so"
        )

    def holds(alert: Alert) -> bool:
        a, b = left.get(alert), right.get(alert)
        is_known = a is not None and b is not None and a == a and b == b  # NaN is not itself
        return is_known and compare(a, b)

    return holds
