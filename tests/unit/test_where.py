"""The subscriber's filter: what it lets through, and what it refuses with which words."""

from __future__ import annotations

import pytest

from cempstream.schemas.alert import decode_alert
from cempstream.schemas.registry import Kind, sample
from cempstream.streams.subscriber.where import FilterError, compile_where

#: p_cemp 0.97, S/N 40, [Fe/H] -2.41 (-2.53 … -2.28), [Ba/Fe] NaN, survey "sample", G = 14.82, cemp_s.
SAMPLE = decode_alert(sample(Kind.ALERT))
ALERT = SAMPLE.model_copy(update={"lines": {"lick_g4300": SAMPLE.lines["G4300"]}})


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ("p_cemp > 0.95 and snr > 20", True),
        ("p_cemp > 0.95 and snr > 50", False),
        ("p_cemp > 0.99 or snr > 20", True),
        ("not p_cemp > 0.99", True),
        ("feh < -2", True),
        ("-2.5 < feh < -2.4", True),
        ("-2.4 < feh < 0", False),
        ("feh_lo < -2.5 and feh_hi < -2.2", True),
        ("feh == -2.41", True),
        ("feh != -2.41", False),
        ("+2 <= snr", True),
        ("subclass == 'cemp_s' and p_s >= 0.7", True),
        ('survey in ("lamost", "sample")', True),
        ("survey not in ['lamost', 'desi']", True),
        ("revision in {0, 1}", True),
        ('alert_type in ("initial", "retraction")', True),
        ('alert_type in ("update", "subsequent")', False),
        ("n_observations >= 1 and n_coadded < 2", True),
        ("'GV' in gratings", False),
        ("'J1045' in object_id", True),
        ("'C2 5165' in bands", True),
        ("'low_snr' in flags", False),
        ("'low_snr' not in flags", True),
        ("is_candidate", True),
        ("is_candidate == False", False),
        ("mag_G < 15 and line_lick_g4300 > 7", True),
        ("priority > 0.5", True),
        ("  snr>1\n", True),
        # what an alert does not have passes no comparison
        ("mag_z < 99", False),
        ("mag_z > -99", False),
        ("mag_z != 0", False),
        ("line_kp == 1", False),
        ("bafe < 9", False),
        ("bafe != 9", False),
        ("bafe not in (1, 2)", False),
        ("not bafe < 9", True),
    ],
)
def test_a_filter_passes_what_it_says(text: str, passes: bool) -> None:
    assert compile_where(text)(ALERT) is passes


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pcemp > 0.9", "'pcemp' is not a field of an alert; did you mean 'p_cemp'?"),
        ("xyzzy > 0.9", "there are ra, dec"),
        ("p_cemp >", "is not an expression"),
        ("", "is not an expression"),
        ("p_cemp = 0.9", "is not an expression"),
        ("p_cemp", "is a number, not a condition"),
        ("'a'", "is a text, not a condition"),
        ("snr and p_cemp > 0.9", "'snr' is a number, not a condition"),
        ("survey > 3", "'survey' is a text and '3' a number"),
        ("survey > 'a'", "cannot be compared"),
        ("survey == 3", "cannot be compared"),
        ("snr in ('a', 'b')", "'snr' is a number and"),
        ("snr in (1, 'a')", "numbers or texts, not both"),
        ("snr in ()", "at least one"),
        ("snr in (ra, dec)", "cannot stand in a list"),
        ("flags == 'a'", "is a list of texts"),
        ("snr is 3", "write == or !="),
        ("snr > None", "neither a number nor a text"),
        ("snr > 1 + 1", "'1 + 1' is not understood"),
        ("__import__('os').system('true')", "is not understood"),
        ("(lambda: 1)()", "is not understood"),
        ("ra.__class__ == 1", "is not understood"),
        ("[x for x in (1, 2)]", "is not understood"),
        ("snr > 1 if ra > 1 else dec > 1", "is not understood"),
        ("(snr := 3) > 1", "is not understood"),
        ("f'{snr}' == 'a'", "is not understood"),
        ("snr > 1j", "neither a number nor a text"),
        ("snr > 1; dec > 1", "is not an expression"),
        ("snr > 1\0", "the filter cannot be read|is not an expression"),
        ("(" * 500 + "snr > 1" + ")" * 500, "the filter cannot be read|is not an expression"),
        ("snr > 1 and " * 200 + "snr > 1", "at most 2000"),
    ],
)
def test_a_filter_that_makes_no_sense_is_refused(text: str, message: str) -> None:
    with pytest.raises(FilterError) as caught:
        compile_where(text)
    said = str(caught.value)
    assert any(part in said for part in message.split("|"))
    if "cannot be read" not in message:
        assert not said.startswith(
            "the filter cannot be read"
        )  # what is wrong is said, and nothing before it


@pytest.mark.parametrize(
    "error", [RecursionError("too deep"), MemoryError("too much"), ValueError("a zero byte")]
)
def test_a_filter_that_python_cannot_take_in_is_an_error_of_the_filter(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def parse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("ast.parse", parse)
    with pytest.raises(FilterError, match=f"the filter cannot be read: {error}"):
        compile_where("snr > 1")
