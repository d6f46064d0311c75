"""A run of smoke size: from spectra to a bundle that loads; repeatable with a seed, and resumable."""

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from cempstream.models.bundle import BUNDLES, load_bundle, newest_bundle  # noqa: E402
from cempstream.models.card import GRAPHS  # noqa: E402
from cempstream.models.training.augment import Conditions, Degrader  # noqa: E402
from cempstream.models.training.calibrate import (  # noqa: E402
    Outputs,
    choose_thresholds,
    fit_intervals,
    fit_platt,
    roc_auc,
)
from cempstream.models.training.config import CONFIGS, TrainingConfig, read_config  # noqa: E402
from cempstream.models.training.dataset import EMPTY_SHARE, EMPTY_SNR, Dataset, DatasetMix, generate  # noqa: E402
from cempstream.models.training.export import PARITY, export_networks  # noqa: E402
from cempstream.models.training.fit import Schedule, train_networks  # noqa: E402
from cempstream.models.training.grad_cam import grad_cam  # noqa: E402
from cempstream.models.training.instruments import draw_instrument, lamost_like  # noqa: E402
from cempstream.models.training.late_errors import deeper_hydrogen, hydrogen_pixels, noisier  # noqa: E402
from cempstream.models.training.networks import N_TOKENS, Networks  # noqa: E402
from cempstream.models.training.physics_errors import perturb_physics  # noqa: E402
from cempstream.models.training.restore import restore_networks  # noqa: E402
from cempstream.models.training.run import train_bundle  # noqa: E402
from cempstream.models.training.star_labels import COLUMN, draw_labels, label_truth  # noqa: E402
from cempstream.models.training.stars import EmulatedStars, Stars  # noqa: E402
from cempstream.processors.continuum import Normaliser  # noqa: E402
from cempstream.processors.grid import Array, LogGrid, vacuum_to_air  # noqa: E402
from cempstream.processors.rebin import Rebinner  # noqa: E402
from cempstream.streams.commands.train import train as train_verb  # noqa: E402

pytestmark = [pytest.mark.train, pytest.mark.timeout(600)]

GRID = LogGrid(3.57, 1e-4, 3840)


class LineStars:
    """Stars whose only line is carbon's: deep where [C/Fe] is high."""

    wave: Array = 10 ** (3.5613 + 1e-4 / 3 * np.arange(13098))
    continuum_wave: Array = np.linspace(3600.0, 10000.0, 64)

    def draw(self, n: int, rng: np.random.Generator) -> Stars:
        labels = draw_labels(n, rng)
        depth = 0.8 / (1 + np.exp(-3 * (labels[:, COLUMN["cfe"]] - 0.7)))
        band = np.exp(-0.5 * ((self.wave - 4300) / 25) ** 2) + np.exp(-0.5 * ((self.wave - 4715) / 15) ** 2)
        metal = np.exp(-0.5 * ((self.wave - 3934.8) / 5) ** 2) * 0.9
        strength = 1 / (1 + np.exp(-2 * (labels[:, COLUMN["feh"]] + 1)))
        norm = (1 - depth[:, None] * band) * (1 - strength[:, None] * metal)
        return Stars(labels, norm.astype(np.float32), np.ones((n, 64), dtype=np.float32))


@pytest.fixture(scope="module")
def degrader() -> Degrader:
    return Degrader(Rebinner(GRID, 1800.0), Normaliser(96.0), None)


@pytest.fixture(scope="module")
def data(degrader: Degrader) -> Dataset:
    return generate(LineStars(), degrader, 768, 1, mix=DatasetMix(contaminants=0.2, per_instrument=96))


def _quiet(phase: str, epoch: int, done: float, losses: dict[str, float]) -> None:
    assert all(np.isfinite(list(losses.values())))


def test_the_same_seed_gives_the_same_spectra_and_another_seed_others(degrader: Degrader) -> None:
    mix = DatasetMix(per_instrument=16)
    one, same, other = (generate(LineStars(), degrader, 32, seed, mix=mix) for seed in (5, 5, 6))
    assert one.norm.tobytes() == same.norm.tobytes()
    assert one.ivar.tobytes() == same.ivar.tobytes()
    assert one.norm.tobytes() != other.norm.tobytes()


def test_augmented_spectra_are_finite_and_bad_pixels_are_neutral(data: Dataset) -> None:
    assert np.isfinite(data.norm).all()
    assert np.isfinite(data.ivar).all()
    bad = data.ivar == 0
    assert bad.any()
    assert np.all(data.norm[bad] == 1)
    assert np.isnan(data.truth.parameters[data.truth.is_ood != 0]).all()


def test_fusing_reads_only_what_is_known_and_its_graph_computes_the_same(
    tmp_path: Path, data: Dataset
) -> None:
    torch.manual_seed(3)
    networks = Networks().eval()
    with torch.no_grad():
        tokens = torch.randn(4, N_TOKENS, 32)
        said = networks.regress(tokens)
        known = torch.tensor([[5000.0, 100.0, 2.0, 0.2]]).repeat(4, 1)
        without_logg = known.clone()
        without_logg[:, 3] = 0.0
        other = without_logg.clone()
        other[:, 2] = 4.5  # a value without an error is not there
        base, alone, same = (networks.fuse(tokens, k, *said) for k in (known, without_logg, other))
    torch.testing.assert_close(alone, same)
    assert (base - alone).abs().max() > 1e-3
    exported = export_networks(networks, data.norm[:8], data.ivar[:8], tmp_path)
    assert [array.name for array in exported["fuse"].inputs] == ["tokens", "known", "mean", "log_sigma"]
    assert exported["fuse"].parity < PARITY


def test_noise_is_what_the_snr_says(degrader: Degrader) -> None:
    tame = DatasetMix(conditions=Conditions((20.0, 20.0), 0.0), contaminants=0.0, per_instrument=64)
    seen = generate(LineStars(), degrader, 64, 3, mix=tame, instrument=lambda rng: lamost_like())
    good = seen.ivar > 0
    residual = (seen.norm.astype(float) - seen.clean.astype(float)) * np.sqrt(seen.ivar.astype(float))
    # The shift to rest mixes neighbours, which takes up to half of the variance away.
    assert 0.65 < residual[good].std() < 1.05
    snr_per_aa = np.sqrt(seen.ivar.astype(float) / np.gradient(GRID.wave))
    assert np.median(snr_per_aa[good]) == pytest.approx(20.0, rel=0.15)


def test_empty_fibres_hold_noise_about_zero_and_are_no_stars(degrader: Degrader) -> None:
    tame = DatasetMix(conditions=Conditions((20.0, 20.0), 0.0), contaminants=1.0, per_instrument=400)
    seen = generate(LineStars(), degrader, 400, 3, mix=tame, instrument=lambda rng: lamost_like())
    is_empty = seen.snr < 5.0
    assert is_empty.mean() == pytest.approx(EMPTY_SHARE, abs=0.05)
    assert np.all(seen.truth.is_ood[is_empty] == 1)
    assert np.all(seen.star[is_empty] == -1)
    assert not seen.truth.is_cemp[is_empty].any()
    # A median, because the continuum of nothing has zeros, where the quotient is anything.
    snr_per_aa = np.sqrt(np.median(seen.ivar[is_empty].astype(float), axis=1) / np.diff(GRID.wave).mean())
    assert np.quantile(snr_per_aa, 0.9) < EMPTY_SNR[1]
    assert np.median(np.abs(seen.clean[is_empty].astype(float) - 1)) < 0.02


def test_every_instrument_can_be_drawn_and_its_projection_keeps_a_flat_spectrum_flat() -> None:
    from cempstream.models.training.instruments import projection

    rng = np.random.default_rng(1)
    for _ in range(20):
        instrument = draw_instrument(rng)
        flat = projection(instrument, LineStars.wave) @ np.ones(LineStars.wave.size, dtype=np.float32)
        assert np.all((np.abs(flat - 1) < 1e-3) | (flat == 0))
        assert np.all(np.isfinite(instrument.response))


def test_labels_stay_in_the_library_and_truth_follows_the_definitions() -> None:
    labels = draw_labels(4000, np.random.default_rng(2))
    feh, cfe, logg = labels[:, COLUMN["feh"]], labels[:, COLUMN["cfe"]], labels[:, COLUMN["logg"]]
    truth = label_truth(labels)
    assert np.array_equal(truth.is_cemp, (feh < -1) & (cfe >= 0.7))
    assert np.all(truth.is_cemp_corrected >= truth.is_cemp)
    assert (truth.is_cemp_corrected & ~truth.is_cemp)[logg < 1.5].any()
    sfe, rfe = labels[:, COLUMN["sfe"]], labels[:, COLUMN["rfe"]]
    assert np.all(truth.subclass[truth.is_cemp & (sfe < 0) & (rfe < 1)] == 0)
    assert np.all(truth.subclass[truth.is_cemp & (sfe > 1) & (rfe < 1)] == 1)
    assert np.all(truth.subclass[truth.is_cemp & (sfe < 0.9) & (rfe > 1)] == 2)
    assert 0.25 < truth.is_cemp.mean() < 0.5
    is_warm_giant = (labels[:, COLUMN["teff"]] > 5700) & (logg < 3.2)
    normal = is_warm_giant & (feh < -1) & (cfe < 0.4)
    assert normal.mean() > 0.03, "the horizontal branch of the halo"


def test_training_learns_resumes_and_repeats_itself(data: Dataset, tmp_path: Path) -> None:
    schedule = Schedule(denoise_epochs=1, epochs=3, batch=64, learning_rate=3e-3)
    where = np.zeros((len(data), N_TOKENS), dtype=np.float32)
    where[data.truth.is_cemp, 20:28] = 1 / 8
    networks, history = train_networks(data, where, schedule, tmp_path / "a", _quiet)
    losses = {point["epoch"]: point["cemp"] for point in history if "cemp" in point}
    assert len(losses) == 3 * math.ceil(len(data) / 64), "a point for each of the few batches"
    assert max(losses) == 3.0
    assert losses[3.0] < losses[min(losses)]

    class Stopped(Exception):
        pass

    def stop(phase: str, epoch: int, done: float, losses: dict[str, float]) -> None:
        if phase == "classify" and epoch == 1:
            raise Stopped

    with pytest.raises(Stopped):
        train_networks(data, where, schedule, tmp_path / "b", stop)
    resumed, _ = train_networks(data, where, schedule, tmp_path / "b", _quiet)
    for name, value in networks.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_only_hydrogen_cores_are_deepened_and_only_where_there_are_data() -> None:
    pixels = hydrogen_pixels(GRID)
    assert GRID.wave[list(pixels)] == pytest.approx([6564.6, 4862.7, 4341.7, 4102.9, 3971.2, 3890.2], abs=1.0)
    assert hydrogen_pixels(LogGrid(3.57, 1e-3, 384)) == ()
    flat, ivar = torch.ones(64, GRID.n_pix), torch.ones(64, GRID.n_pix)
    ivar[:, : GRID.n_pix // 2] = 0.0
    batch = {"norm": flat, "target": flat, "ivar": ivar}
    changed = deeper_hydrogen(batch, pixels, np.random.default_rng(1))["norm"].numpy()
    h_alpha = pixels[0]
    assert 0.75 < changed[:, h_alpha].min() < 0.9
    near = np.abs(np.arange(GRID.n_pix)[:, None] - np.array(pixels)).min(axis=1) <= 20
    assert np.all(changed[:, ~near] == 1)
    assert np.all(changed[:, : GRID.n_pix // 2] == 1)


def test_a_haze_of_unknown_lines_takes_contrast_from_rich_and_cool_stars_most() -> None:
    stars = LineStars().draw(400, np.random.default_rng(6))
    wave_air = vacuum_to_air(LineStars.wave)
    lines = np.ones_like(stars.norm)
    lines[:, ::8] = 0.5
    labels = stars.labels.copy()
    labels[:, COLUMN["cfe"]] = 0.0
    labels[:200, COLUMN["teff"]], labels[:200, COLUMN["feh"]] = 4500.0, 0.0
    labels[200:, COLUMN["teff"]], labels[200:, COLUMN["feh"]] = 6400.0, -2.5
    changed = perturb_physics(Stars(labels, lines, stars.continuum), wave_air, 1.0, np.random.default_rng(1))
    contrast = 1.0 - changed[:, 8:-8:8] / changed[:, 12:-4:8]
    at = wave_air[8:-8:8]
    loss = {
        name: 1.0 - contrast[:200, inside].mean() / contrast[200:, inside].mean()
        for name, inside in (("violet", at < 4000), ("green", (at > 5000) & (at < 5600)))
    }
    assert loss["violet"] > 1.3 * loss["green"] > 0.1


def test_perturbed_stars_stay_spectra_and_the_violet_errs_most() -> None:
    stars = LineStars().draw(64, np.random.default_rng(6))
    wave_air = vacuum_to_air(LineStars.wave)
    violet, red = (wave_air > 3700) & (wave_air < 4100), (wave_air > 7000) & (wave_air < 7400)
    metal = stars.norm.copy()
    metal[:, ::7] *= 0.7
    many = Stars(stars.labels, metal, stars.continuum)
    changed = perturb_physics(many, wave_air, 1.0, np.random.default_rng(7))
    assert np.isfinite(changed).all()
    assert changed.min() > 0
    error = np.abs(np.log(changed / metal))
    assert error[:, violet].mean() > 1.3 * error[:, red].mean()


def test_each_line_errs_by_itself() -> None:
    stars = LineStars().draw(64, np.random.default_rng(6))
    lines = np.ones_like(stars.norm)
    lines[:, ::8] = 0.7
    changed = perturb_physics(
        Stars(stars.labels, lines, stars.continuum),
        vacuum_to_air(LineStars.wave),
        1.0,
        np.random.default_rng(8),
    )
    depth = np.log(np.maximum(1.0 - changed[:, 8:-8:8] / changed[:, 12:-4:8], 1e-3))
    assert 0.1 < np.median(np.abs(np.diff(depth, axis=1))) < 0.5


def test_more_noise_is_what_its_ivar_says_and_new_in_every_epoch() -> None:
    rng = np.random.default_rng(10)
    ivar = np.exp(rng.uniform(4.0, 8.0, (64, 3840))).astype(np.float32)
    norm = (1.0 + rng.standard_normal(ivar.shape) / np.sqrt(ivar)).astype(np.float32)
    norm[:, :40], ivar[:, :40] = 1.0, 0.0
    batch = {"norm": torch.from_numpy(norm), "ivar": torch.from_numpy(ivar)}
    one, other = (noisier(batch, np.random.default_rng(seed)) for seed in (1, 2))
    deviation = ((one["norm"] - 1.0) * torch.sqrt(one["ivar"])).numpy()[:, 40:]
    assert deviation.std(axis=1) == pytest.approx(np.ones(64), rel=0.06)
    gain = np.sqrt(ivar[:, 40:] / one["ivar"].numpy()[:, 40:])
    assert gain.min() > 1.0
    assert 1.3 < gain.max() < 1.81
    assert torch.all(one["norm"][:, :40] == 1.0)
    assert torch.all(one["ivar"][:, :40] == 0.0)
    assert not torch.equal(one["norm"], other["norm"])


def test_contributions_sum_to_the_logit() -> None:
    torch.manual_seed(1)
    networks = Networks().eval()
    tokens = torch.randn(4, 80, 32)
    with torch.no_grad():
        logit, share, attention = networks.classify.cemp(tokens)
    assert torch.allclose(attention.sum(dim=1), torch.ones(4), atol=1e-6)
    assert torch.allclose(share.sum(dim=1) + networks.classify.cemp.bias, logit, atol=1e-6)


def test_grad_cam_is_how_the_logit_follows_a_token() -> None:
    """Pushing a token's activations up and down moves the logit as much as Grad-CAM says."""
    torch.manual_seed(2)
    networks = Networks().eval()
    rng = np.random.default_rng(8)
    norm = 1.0 - 0.3 * rng.random((3, GRID.n_pix)).astype(np.float32)
    ivar = np.full_like(norm, 400.0)
    cam = grad_cam(networks, norm, ivar)
    assert cam.shape == (3, N_TOKENS)
    assert np.all(cam >= 0)
    with torch.no_grad():
        flux, weight = torch.from_numpy(norm), torch.from_numpy(ivar)
        clean = networks.denoise(flux, weight)
    pushed = []

    def push(module: torch.nn.Module, inputs: object, output: torch.Tensor) -> torch.Tensor:
        changed = output.clone()
        changed[:, :, 12 * 12 : 13 * 12] *= 1 + pushed[-1]
        return changed

    hook = networks.features.stem.register_forward_hook(push)
    logits = []
    for step in (-0.01, 0.01):
        pushed.append(step)
        with torch.no_grad():
            logits.append(networks.classify.cemp(networks.features(flux, weight, clean))[0].double())
    hook.remove()
    slope = ((logits[1] - logits[0]) / 0.02).numpy()
    np.testing.assert_allclose(cam[:, 12], np.maximum(slope, 0.0), rtol=0.02, atol=1e-4)


def test_platt_undoes_a_wrong_scale_and_intervals_cover_what_they_say() -> None:
    rng = np.random.default_rng(3)
    logit = 2 * rng.standard_normal(20000)
    truth = rng.random(20000) < 1 / (1 + np.exp(-logit))
    card = fit_platt(3 * logit + 1, truth)
    assert card.scale == pytest.approx(1 / 3, rel=0.05)
    assert card.offset == pytest.approx(-1 / 3, abs=0.06)
    natural = np.where(truth, 1.0, 300.0)
    rare = fit_platt(3 * logit + 1, truth, natural)
    assert rare.prior < 0.01
    p = rare.calibration(3 * logit + 1, rare.prior)
    assert np.average(p, weights=natural) == pytest.approx(rare.prior, rel=0.02)
    snr = np.where(np.arange(logit.size) % 2, 5.0, 20.0)
    thresholds = choose_thresholds(rare, 3 * logit + 1, truth, natural, snr, purity=0.1)
    fair = snr > 10.0
    for t in thresholds:
        assert t.observed_from is not None
        assert t.observed_dropped is not None
        p = rare.calibration(3 * logit + 1, t.prior)
        assert 0.985 <= (p[fair & truth] >= t.observed_from).mean() <= 1.0
        others = fair & ~truth
        below = np.average(p[others] < t.observed_from, weights=natural[others])
        assert below == pytest.approx(t.observed_dropped, abs=1e-3)
    assert all(t.purity >= 0.1 or t.recall >= 0.2 for t in thresholds)
    assert [t.recall for t in thresholds] == sorted(t.recall for t in thresholds)
    assert roc_auc(logit, truth) > 0.8
    assert roc_auc(np.ones(4), np.array([True, False, True, False])) == 0.5


def drawn_outputs(
    n: int, overconfidence: float, feh: tuple[float, float], rng: np.random.Generator
) -> tuple[Outputs, Array]:
    """Return what a network says whose errors are so many times its own sigma, and the truth."""
    mean = np.zeros((n, 6))
    mean[:, 2] = rng.uniform(*feh, n)
    sigma = rng.uniform(0.1, 0.5, (n, 6))
    truth = mean + overconfidence * sigma * rng.standard_normal((n, 6))
    rest = [np.zeros(n)] * 5
    return Outputs(*rest, mean, sigma, snr=np.exp(rng.uniform(1.0, 5.0, n))), truth


def test_intervals_hold_what_they_say_of_what_is_served() -> None:
    rng = np.random.default_rng(4)
    served, wide = (drawn_outputs(40000, *how, rng) for how in ((0.5, (-4.0, -1.3)), (2.0, (-4.0, 0.5))))
    scale = np.array(fit_intervals([served, wide]).scale)
    one_sigma = 0.9945  # 68 % of a normal distribution, not 68.27 %
    metal_poor, metal_rich = scale[:, :2], scale[:, 4:]
    np.testing.assert_allclose(metal_poor, 0.5 * one_sigma, rtol=0.12)
    np.testing.assert_allclose(metal_rich, 2.0 * one_sigma, rtol=0.12)
    unknown = (served[0], np.full_like(served[1], np.nan))
    assert np.all(np.array(fit_intervals([unknown]).scale) == 1.0)


def test_a_smoke_run_makes_a_bundle_that_loads(shared_data: Path, tmp_path: Path) -> None:
    config = TrainingConfig(
        version="0.0.1", source="library", n_train=192, n_calibration=192, n_test=96, n_night=192,
        n_templates=40, denoise_epochs=1, epochs=1, batch=64,
    )  # fmt: skip
    stages: set[str] = set()
    run = train_bundle(
        config,
        [shared_data / "synthetic" / "library.npz"],
        tmp_path / "work",
        tmp_path / "bundle",
        progress=lambda stage, done, total: stages.add(stage),
        report=_quiet,
        command="test",
    )
    bundle = load_bundle(tmp_path / "bundle")
    assert bundle.card == run.card
    made = ("train", "calibration", "night", "test", "wild")
    assert {f"spectra: {name}" for name in made} == stages
    assert {score.name for score in bundle.card.scores} >= {"mae_feh", "auc_cemp"}
    assert sum(graph.mflop for graph in bundle.card.graphs.values()) < 15
    points = json.loads((tmp_path / "work" / "curves.json").read_text())
    assert {name for point in points for name in point} >= {"reconstruction", "cemp", "parameters"}
    assert (tmp_path / "work" / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_the_card_gets_the_command_without_this_machines_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Enough(Exception):
        pass

    def stands_in(*args: object, command: str, **rest: object) -> None:
        raise Enough(command)

    monkeypatch.setattr("cempstream.models.training.run.train_bundle", stands_in)
    config = Path(shutil.copy(CONFIGS / "low.toml", tmp_path))
    with pytest.raises(Enough) as told:
        train_verb("low", config, [tmp_path / "a.npz", tmp_path / "b"], tmp_path / "work")
    again = "cempstream train --bundle low --config low.toml --library a.npz --library b"
    assert told.value.args == (again,)


def test_balmer_cores_as_measured_are_not_deepened_once_more() -> None:
    for name in ("mid", "low"):
        before, after = read_config(CONFIGS / f"{name}.toml"), read_config(CONFIGS / f"{name}-2.toml")
        assert (before.balmer, after.balmer) == ("any", "measured")
        assert after.schedule.hydrogen_pix == ()
    assert read_config(CONFIGS / "mid.toml").schedule.hydrogen_pix


@pytest.mark.parametrize("name", ["mid", "low"])
def test_a_bundles_networks_come_back_from_its_graphs_and_stay_as_they_are(name: str, tmp_path: Path) -> None:
    config = read_config(CONFIGS / f"{name}-fuse.toml")
    assert config.base is not None
    base = load_bundle(BUNDLES / config.base)
    rng = np.random.default_rng(4)
    shape = (8, config.n_pix)
    norm, ivar = rng.normal(1.0, 0.1, shape).astype(np.float32), np.full(shape, 400.0, dtype=np.float32)
    # The export compares every graph with its network.
    exported = export_networks(restore_networks(base, config.shape), norm, ivar, tmp_path, base.graphs)
    assert {graph: exported[graph].model for graph in GRAPHS} == {g: base.graphs[g] for g in GRAPHS}


def test_networks_of_another_shape_are_not_restored() -> None:
    with pytest.raises(ValueError, match=r"'denoise\.down\.weight' is \(8, 3, 6\); it must be \(8, 3, 12\)"):
        restore_networks(load_bundle(newest_bundle(BUNDLES, "low")), Networks().shape)


def test_only_the_network_that_takes_photometry_is_trained_beside_a_base(
    data: Dataset, tmp_path: Path
) -> None:
    torch.manual_seed(5)
    base = Networks()
    before = {key: value.clone() for key, value in base.state_dict().items()}
    where = np.full((len(data), N_TOKENS), 1 / N_TOKENS, dtype=np.float32)
    schedule = Schedule(epochs=3, fuse_epochs=2, batch=96)
    trained, history = train_networks(data, where, schedule, tmp_path, _quiet, base=base)
    changed = {key for key, value in trained.state_dict().items() if not torch.equal(value, before[key])}
    assert changed
    assert all(key.startswith("fuse.") for key in changed)
    losses = [point["parameters"] for point in history]
    assert losses[-1] < losses[0]


def test_measured_cores_are_deeper_in_cool_stars_and_any_cores_are_as_before() -> None:
    stars = LineStars().draw(400, np.random.default_rng(6))
    wave_air = vacuum_to_air(LineStars.wave)
    labels = stars.labels.copy()
    labels[:, COLUMN["feh"]] = -2.0
    labels[:200, COLUMN["teff"]], labels[200:, COLUMN["teff"]] = 4300.0, 6600.0
    flat = Stars(labels, np.ones_like(stars.norm), stars.continuum)
    core = int(np.argmin(np.abs(wave_air - 4861.3)))
    rng = np.random.default_rng(9)
    measured = perturb_physics(flat, wave_air, 0.3, rng, "measured")[:, core]
    assert np.median(measured[:200]) < np.median(measured[200:]) - 0.15
    one, other = (
        perturb_physics(stars, wave_air, 1.0, np.random.default_rng(3), *more) for more in ((), ("any",))
    )
    np.testing.assert_array_equal(one, other)


def test_the_shipped_configuration_is_read(tmp_path: Path) -> None:
    assert read_config(CONFIGS / "mid.toml").bundle == "mid"
    wrong = tmp_path / "wrong.toml"
    wrong.write_text('version = "1.0.0"\nlearning_speed = 3\n')
    with pytest.raises(ValueError, match="learning_speed"):
        read_config(wrong)


@pytest.fixture(scope="module")
def emulated() -> EmulatedStars:
    from cempstream.models.emulator.emulator import Emulator

    return EmulatedStars(Emulator.load())


def test_the_emulator_takes_every_label_that_is_drawn(emulated: EmulatedStars) -> None:
    stars = emulated.draw(500, np.random.default_rng(4))
    assert stars.norm.shape == (500, emulated.wave.size)
    assert np.isfinite(stars.norm).all()
    assert np.all(stars.continuum > 0)


def test_the_attention_is_pointed_at_the_bands_of_carbon(emulated: EmulatedStars, degrader: Degrader) -> None:
    from cempstream.models.emulator.emulator import Emulator
    from cempstream.models.training.carbon_information import carbon_information

    tame = DatasetMix(conditions=Conditions((40.0, 40.0), 0.0), contaminants=0.0, per_instrument=96)
    seen = generate(emulated, degrader, 96, 8, mix=tame, instrument=lambda rng: lamost_like())
    where = carbon_information(seen, Emulator.load(), GRID, 1800.0, 96.0, N_TOKENS)
    total = where.sum(axis=1)
    assert total[seen.truth.is_cemp] == pytest.approx(1.0, abs=1e-2)
    assert np.all(total[seen.truth.parameters[:, 3] < 0.4] == 0)
    wave = GRID.wave.reshape(N_TOKENS, -1).mean(axis=1)
    bands = [(3840, 3900), (4140, 4410), (4620, 4760), (5020, 5180), (5400, 5650), (6900, 7060), (7840, 8070)]
    inside = np.any([(wave > low - 25) & (wave < high + 25) for low, high in bands], axis=0)
    assert where[seen.truth.is_cemp][:, inside].sum(axis=1).mean() > 0.7
