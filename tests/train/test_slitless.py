"""What trains the bundle ``low``: slitless instruments, neighbours' light, errors of whole regions."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from cempstream.models.bundle import load_bundle  # noqa: E402
from cempstream.models.emulator.grids import EMULATOR_GRID  # noqa: E402
from cempstream.models.evaluation.variants import arms, train_variants  # noqa: E402
from cempstream.models.sessions import Provider  # noqa: E402
from cempstream.models.training.broad_errors import BroadErrors  # noqa: E402
from cempstream.models.training.config import CONFIGS, read_config  # noqa: E402
from cempstream.models.training.instruments import projection  # noqa: E402
from cempstream.models.training.networks import MID, Networks, Shape  # noqa: E402
from cempstream.models.training.run import train_bundle  # noqa: E402
from cempstream.models.training.slitless import csst_gv, draw_slitless, with_neighbours  # noqa: E402
from cempstream.models.training.star_labels import draw_labels  # noqa: E402
from cempstream.models.training.stars import Stars  # noqa: E402
from cempstream.processors.grid import Array  # noqa: E402
from cempstream.streams.scoring.assemble import build_chain  # noqa: E402

pytestmark = [pytest.mark.train, pytest.mark.timeout(600)]


def test_every_slitless_instrument_keeps_a_flat_spectrum_flat() -> None:
    rng = np.random.default_rng(1)
    draws = [draw_slitless(rng) for _ in range(40)]
    drawn = [one for draw in draws for one in (draw if isinstance(draw, tuple) else (draw,))]
    pairs = [draw for draw in draws if isinstance(draw, tuple)]
    assert pairs
    # GV and GI overlap, so that what is joined has no gap.
    assert all(blue.wave[0] < red.wave[0] < blue.wave[-1] < red.wave[-1] for blue, red in pairs)
    for instrument in drawn:
        flat = projection(instrument, EMULATOR_GRID.wave) @ np.ones(EMULATOR_GRID.n_pix, dtype=np.float32)
        assert np.all((np.abs(flat - 1) < 1e-3) | (flat == 0))
        assert 50 < np.median(instrument.power) < 520
        assert np.all(instrument.response > 0)
    assert {bool(instrument.neighbours) for instrument in drawn} == {True, False}
    # Three pixels of 5.25 Å at 5100 Å.
    assert csst_gv().zero_point_kms == pytest.approx(3 * 5.25 / 5100 * 3e5, rel=0.03)


def test_a_neighbour_adds_at_most_the_light_that_the_source_has() -> None:
    signal = np.ones((400, 100), dtype=np.float32)
    seen = with_neighbours(signal, 0.25, np.random.default_rng(2))
    added = (seen - signal).mean(axis=1)
    assert 0.15 < np.mean(added > 0) < 0.30
    assert added.min() >= 0
    assert 0.1 < added.max() <= 1.0
    assert np.array_equal(signal, np.ones((400, 100)))


class FlatLines:
    """Stars of which every pixel absorbs a fifth."""

    wave: Array = EMULATOR_GRID.wave
    continuum_wave: Array = np.linspace(3600.0, 10000.0, 64)

    def __init__(self, depth: float) -> None:
        self.depth = depth

    def draw(self, n: int, rng: np.random.Generator) -> Stars:
        norm = np.full((n, self.wave.size), 1 - self.depth, dtype=np.float32)
        return Stars(draw_labels(n, rng), norm, np.ones((n, 64), dtype=np.float32))


def test_whole_regions_err_and_most_so_in_the_blue_but_no_line_comes_from_nothing() -> None:
    rng = np.random.default_rng(3)
    lines = -np.log(BroadErrors(FlatLines(0.2)).draw(200, rng).norm) / -np.log(0.8)
    wave = EMULATOR_GRID.wave
    scatter = np.log(lines).std(axis=0)
    assert np.median(scatter[wave < 4150]) > 2 * np.median(scatter[wave > 4400])
    assert 0.02 < np.median(scatter[wave > 4400]) < 0.12
    ca_k = lines[:, np.abs(wave - 3934.8) < 10].mean()
    assert 0.85 < ca_k < 0.98
    assert np.all(BroadErrors(FlatLines(0.0)).draw(3, rng).norm == 1)


def test_networks_take_the_shape_of_the_grid_and_refuse_one_that_does_not_divide() -> None:
    networks = Networks(Shape(1024, 64, 2)).eval()
    norm, ivar = torch.ones(3, 1024), torch.full((3, 1024), 50.0)
    with torch.no_grad():
        clean = networks.denoise(norm, ivar)
        tokens = networks.features(norm, ivar, clean)
    assert clean.shape == (3, 1024)
    assert tokens.shape == (3, 64, 32)
    assert Networks().shape == MID
    with pytest.raises(ValueError, match="tokens must divide pixels"):
        Shape(1000, 64, 2)


def test_a_smoke_run_of_low_makes_a_bundle_that_loads(shared_data: Path, tmp_path: Path) -> None:
    config = read_config(CONFIGS / "low.toml").model_copy(
        update={
            "source": "library", "n_train": 128, "n_calibration": 128, "n_test": 64, "n_night": 128,
            "n_templates": 40, "denoise_epochs": 1, "epochs": 1, "batch": 64, "per_instrument": 64,
        }
    )  # fmt: skip
    quiet: Callable[..., None] = lambda *_: None  # noqa: E731
    run = train_bundle(
        config,
        [shared_data / "synthetic" / "library.npz"],
        tmp_path / "work",
        tmp_path / "bundle",
        progress=quiet,
        report=quiet,
        command="test",
    )
    card = load_bundle(tmp_path / "bundle").card
    assert card == run.card
    assert card.name == "low"
    assert card.grid.n_pix == 1024
    assert len(card.attribution_edges_aa) == 65
    assert card.unmeasured == ("bafe",)
    assert not any("bafe" in score.name for score in card.scores)
    chain = build_chain(load_bundle(tmp_path / "bundle"), Provider.CPU, threads=1)
    record = train_variants(tmp_path / "work", chain, card, n=64, epochs=1, batch=32)
    assert list(record["arms"]) == [arm.name for arm in arms(64)]
    areas = {name: values[1]["value"] for name, values in record["arms"].items()}
    assert all(0.0 <= area <= 1.0 for area in areas.values())
    errors = {name: values[2]["value"] for name, values in record["arms"].items()}
    assert len(set(errors.values())) == len(errors), "every variant is another network"
    again = train_variants(tmp_path / "work", chain, card, n=64, epochs=1, batch=32)
    assert again["arms"]["complete"] == record["arms"]["complete"]
