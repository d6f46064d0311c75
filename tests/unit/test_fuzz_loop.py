"""The fuzzers' own parts: seeds are read, mutations refused or read, and a fault is seen."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from cempstream.processors.readers.columns import split_unit
from tests.fuzz import million
from tests.fuzz.targets import decode_packet, file_seeds, packet_seeds, read_file


def test_seeds_are_read_and_poison_is_refused(tmp_path: Path) -> None:
    read = [decode_packet(packet) for packet in packet_seeds()]
    assert all(read[:12])
    assert sum(read[-10:]) == 2, "all NaN and too low a resolution are found after the decoder"
    assert all(read_file(content, tmp_path / "spectra") for content in file_seeds())


def test_twenty_thousand_mutated_packets_raise_nothing_else() -> None:
    n_read = million.run(20_000, seed=7)
    assert 1_000 < n_read < 19_000, "some faults hit pixels, some hit what holds the packet together"


def test_mutations_are_the_seeds_and_change_the_packet() -> None:
    packet = packet_seeds()[0]
    one = [million.mutate(random.Random(3), packet) for _ in range(3)]
    assert len(set(one)) == 1
    rng = random.Random(3)
    assert len({million.mutate(rng, packet) for _ in range(200)} - {packet}) > 150


def test_an_undeclared_error_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(packet: bytes) -> bool:
        raise KeyError("flux")

    monkeypatch.setattr(million, "decode_packet", breaks)
    with pytest.raises(KeyError):
        million.run(1, seed=1)


@pytest.mark.parametrize(
    ("label", "name", "unit"),
    [
        ("Wavelength [nm]", "wavelength", "nm"),
        (" FLUX ( 1e-17 erg ) ", "flux", "1e-17 erg"),
        ("ivar", "ivar", ""),
        ("flux [", "flux [", ""),
        ("a [b] c", "a [b] c", ""),
        ("[nm]", "", "nm"),
        ("", "", ""),
    ],
)
def test_a_column_says_its_unit(label: str, name: str, unit: str) -> None:
    assert split_unit(label) == (name, unit)


@pytest.mark.timeout(60)
def test_a_header_of_blanks_is_refused_at_once(tmp_path: Path) -> None:
    """Found by the guided fuzzer: a regular expression took minutes over a quarter of the blanks."""
    content = b"0w72aev,92.59A8,0L(flux,m" + b" " * 200_000 + b"[x"
    assert not read_file(content, tmp_path / "blanks.csv")
