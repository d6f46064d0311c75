"""What the shipped emulator's card promises."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from cempstream.models.emulator.emulator import DATA, Emulator
from cempstream.models.emulator.labels import LABELS
from cempstream.models.training.emulator.evaluate import BANDS, MEDIAN_LIMIT, EmulatorError, check_bars

MB = 1_000_000


@pytest.fixture(scope="module")
def card() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((DATA / "card.json").read_text())
    return loaded


def test_the_card_describes_the_files_and_they_are_small(card: dict[str, Any]) -> None:
    Emulator.load()  # compares the checksums
    assert set(card["files"]) == {"emulator.onnx", "basis.npz"}
    assert sum((DATA / name).stat().st_size for name in card["files"]) < 25 * MB


def test_the_card_names_every_label_with_its_range_and_unit(card: dict[str, Any]) -> None:
    said = [(label["name"], label["low"], label["high"], label["unit"]) for label in card["labels"]]
    assert said == [(label.name, label.low, label.high, label.unit) for label in LABELS]


def test_the_card_says_truly_which_bars_its_held_out_scores_reach(card: dict[str, Any]) -> None:
    scores = [EmulatorError(**row) for row in card["held_out"]]
    # The card rounds its scores, so the bars are compared as rounded.
    assert card["bars"] == check_bars(scores)
    n_stars = card["library"]["n_trained"] + card["library"]["n_held_out"]
    assert card["library"]["n_held_out"] >= 0.1 * n_stars
    assert {s.where for s in scores} >= {"all pixels", *BANDS, "CEMP", "Teff < 4500 K, C/O > 1"}


def test_the_median_error_is_within_its_bar(card: dict[str, Any]) -> None:
    assert card["held_out"][0]["where"] == "all pixels"
    assert card["held_out"][0]["median"] <= MEDIAN_LIMIT


def test_an_emulator_of_lines_that_do_not_exist_says_so(card: dict[str, Any]) -> None:
    is_warned = any("CH lines that cannot exist" in text for text in card["known_weaknesses"])
    assert is_warned == (card["library"]["lines"] == "published")


def test_running_the_emulator_does_not_import_torch() -> None:
    code = (
        "import sys, numpy as np\n"
        "from cempstream.models.emulator.emulator import Emulator\n"
        "import cempstream.models.simulator\n"
        "Emulator.load()(np.array([[5000, 2.0, -2, 1, 0, 0, 0, 0, 0, 20, 1.5]]))\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
