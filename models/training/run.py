"""A training run from library to bundle; every stage stores its result and is not repeated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import numpy as np

from cempstream.models.bundle import BUNDLES, load_bundle
from cempstream.models.card import Card, ScoreCard, TrainingCard
from cempstream.models.emulator.emulator import Emulator
from cempstream.models.training.augment import Conditions, Degrader
from cempstream.models.training.broad_errors import BroadErrors
from cempstream.models.training.calibration_night import simulate_night
from cempstream.models.training.carbon_information import carbon_information
from cempstream.models.training.choose_templates import Templates, choose_templates
from cempstream.models.training.config import TrainingConfig
from cempstream.models.training.curves import write_curves
from cempstream.models.training.dataset import Dataset, DatasetMix, generate
from cempstream.models.training.emulator.stellar_library import Library, read_library, stellar_files
from cempstream.models.training.export import export_networks
from cempstream.models.training.fit import TellEpoch, train_networks
from cempstream.models.training.grad_cam import compare_attribution
from cempstream.models.training.known_stars import draw_photometry
from cempstream.models.training.make_bundle import Calibrated, Recipe, run_networks, score, write_bundle
from cempstream.models.training.networks import Networks
from cempstream.models.training.observing import PLANS, TAME, Test
from cempstream.models.training.observing import TEST_SAMPLE as TEST_SAMPLE
from cempstream.models.training.observing import WILD_SAMPLE as WILD_SAMPLE
from cempstream.models.training.restore import restore_networks
from cempstream.models.training.stars import EmulatedStars, LibraryStars, StarSource
from cempstream.processors.continuum import Normaliser
from cempstream.processors.grid import Array, LogGrid
from cempstream.processors.rebin import Rebinner
from cempstream.processors.velocity import VelocityFinder

#: Called with the stage, the amount done and its total.
TellProgress = Callable[[str, int, int], None]

_CALIBRATION_SEED, _NIGHT_SEED, _PHOTOMETRY_SEED = 101, 104, 105


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """A finished run."""

    card: Card
    folder: Path
    scores: list[ScoreCard] = field(repr=False)


def train_bundle(
    config: TrainingConfig,
    library_paths: list[Path],
    work: Path,
    bundle: Path,
    *,
    progress: TellProgress,
    report: TellEpoch,
    command: str,
) -> Run:
    """Make a bundle.

    Parameters
    ----------
    library_paths
        Files and folders of the synthetic library.
    work
        Where data and checkpoints are kept; a stopped run continues from there.
    bundle
        Folder of the new bundle.
    """
    files = stellar_files(library_paths)
    library = read_library(files)
    emulator = Emulator.load(config.emulator)
    plan = PLANS[config.instruments]
    source: StarSource = (
        EmulatedStars(emulator) if config.source == "emulator" else LibraryStars(library, "train")
    )
    if plan.broad_errors:
        source = BroadErrors(source)
    templates, degrader = _degrader(config, library, emulator)
    data = _dataset(work / "train", source, degrader, config.n_train, config.seed, config, progress)
    wide_source = source if config.source == "emulator" else LibraryStars(library, "calibration")
    wide = _dataset(
        work / "calibration", wide_source, degrader, config.n_calibration, _CALIBRATION_SEED, config, progress
    )
    night = _night(work / "night", degrader, emulator, config, progress)
    where = _where(work / "where.npy", data, emulator, config, degrader.rebin.target)
    base = None if config.base is None else load_bundle(BUNDLES / config.base)
    networks, history = train_networks(
        data,
        where,
        config.schedule,
        work / "checkpoints",
        report,
        config.shape,
        None if base is None else restore_networks(base, config.shape),
    )
    write_curves(history, work)
    exported = export_networks(
        networks, data.norm[:64], data.ivar[:64], work / "export", base.graphs if base else None
    )
    scores = _scores(work, library, degrader, config, progress, networks)
    recipe = Recipe(
        name=config.bundle,
        version=config.version,
        grid=degrader.rebin.target,
        resolving_power=config.resolving_power,
        served=config.served,
        sigma_pix=config.sigma_pix,
        n_tokens=config.n_tokens,
        unmeasured=config.unmeasured,
        low_coverage=plan.low_coverage,
        weaknesses=plan.weaknesses,
        purity=config.purity,
        training=TrainingCard(
            data=(
                *(f"{file.name} sha256:{sha256(file.read_bytes()).hexdigest()}" for file in files),
                f"emulator {emulator.card['version']} sha256:{emulator.card['files']['emulator.onnx']}",
            ),
            seed=config.seed,
            n_spectra=len(data),
            n_stars=int(np.unique(data.star[data.star >= 0]).size),
            held_out="by star: library stars whose label hash is a multiple of 8",
            config=config.facts,
            command=command,
        ),
    )
    calibrated = Calibrated(
        wide,
        run_networks(networks, wide),
        run_networks(networks, wide, known=_photometry(wide)),
        night,
        run_networks(networks, night),
        run_networks(networks, night, known=_photometry(night)),
    )
    if base is not None:
        bank = base.templates
        templates = Templates(bank.norm.astype(np.float16), bank.labels, bank.velocity)
    card = write_bundle(bundle, recipe, exported, templates, calibrated, scores)
    return Run(card, bundle, scores)


def _degrader(config: TrainingConfig, library: Library, emulator: Emulator) -> tuple[Templates, Degrader]:
    """Choose the templates and return a degrader that uses them."""
    grid = config.grid
    rebin, normalise = Rebinner(grid, config.resolving_power), Normaliser(config.sigma_pix)
    pool = LibraryStars(library, "train")
    templates = choose_templates(
        pool.rows(np.arange(len(pool.labels))),
        pool.wave,
        pool.continuum_wave,
        Degrader(rebin, normalise, None),
        PLANS[config.instruments].for_templates(),
        config.n_templates,
        config.seed,
    )
    bank = templates.norm[templates.velocity].astype(np.float32)
    return templates, Degrader(rebin, normalise, VelocityFinder(grid, bank))


def _dataset(
    folder: Path,
    source: StarSource,
    degrader: Degrader,
    n: int,
    seed: int,
    config: TrainingConfig,
    progress: TellProgress,
    *,
    test: Test | None = None,
) -> Dataset:
    """Load a dataset, or generate and save it."""
    if not (folder / "facts.npz").is_file():
        plan = PLANS[config.instruments]
        tame = test.tame if test else None
        conditions = (
            Conditions((tame.snr, tame.snr), TAME)
            if tame
            else Conditions(config.snr_range, balmer=config.balmer)
        )
        mix = DatasetMix(conditions, 0.0 if tame else config.contaminants, config.per_instrument)
        generate(
            source,
            degrader,
            n,
            seed,
            mix=mix,
            instrument=(lambda rng: tame.instrument()) if tame else plan.draw,
            advance=_counter(folder.name, n, progress),
        ).save(folder)
    return Dataset.load(folder)


def _where(path: Path, data: Dataset, emulator: Emulator, config: TrainingConfig, grid: LogGrid) -> Array:
    """Load the target of the attention, or compute and save it."""
    if not path.is_file():
        where = carbon_information(
            data, emulator, grid, config.resolving_power, config.sigma_pix, config.n_tokens
        )
        np.save(path, where)
    return np.asarray(np.load(path, mmap_mode="r"))


def _night(
    folder: Path, degrader: Degrader, emulator: Emulator, config: TrainingConfig, progress: TellProgress
) -> Dataset:
    """Load the calibration night, or simulate and save it."""
    if not (folder / "facts.npz").is_file():
        advance = _counter(folder.name, config.n_night, progress)
        simulate_night(
            PLANS[config.instruments].surveys,
            config.n_night,
            _NIGHT_SEED,
            degrader,
            emulator=emulator,
            advance=advance,
        ).save(folder)
    return Dataset.load(folder)


def _photometry(data: Dataset) -> Array:
    """Return drawn photometry of every star of a set."""
    return draw_photometry(
        data.truth.parameters, np.random.default_rng([_PHOTOMETRY_SEED, len(data)]), complete=True
    )


def _counter(name: str, total: int, progress: TellProgress) -> Callable[[int], None]:
    done = 0

    def advance(n_new: int) -> None:
        nonlocal done
        done += n_new
        progress(f"spectra: {name}", done, total)

    return advance


def _scores(
    work: Path,
    library: Library,
    degrader: Degrader,
    config: TrainingConfig,
    progress: TellProgress,
    networks: Networks,
) -> list[ScoreCard]:
    stars = LibraryStars(library, "test")
    cards = []
    for test in PLANS[config.instruments].tests:
        data = _dataset(
            work / test.name, stars, degrader, config.n_test, test.seed, config, progress, test=test
        )
        outputs = run_networks(networks, data)
        sample = test.sample + stars.caveat
        cards += score(data, outputs, sample, config.unmeasured)
        fused = run_networks(networks, data, known=_photometry(data))
        cards += score(data, fused, sample + ", with photometric Teff and log g", config.unmeasured)
        if test.tame:
            cards += compare_attribution(networks, data, outputs, sample)
    return cards
