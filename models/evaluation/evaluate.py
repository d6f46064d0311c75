"""All sections of one bundle's report, from a simulated night to the real sky."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path

import numpy as np

from cempstream.models.bundle import Bundle
from cempstream.models.card import PurityCard
from cempstream.models.emulator.emulator import Emulator
from cempstream.models.emulator.grids import EMULATOR_GRID
from cempstream.models.emulator.labels import LABEL_NAMES
from cempstream.models.evaluation.baselines import BASELINES, Trees, index_cut
from cempstream.models.evaluation.evaluation_night import (
    NIGHT_STRATA,
    kept_batches,
    night_batches,
    profile_of,
)
from cempstream.models.evaluation.information import Sight, information
from cempstream.models.evaluation.labelled_stars import LIBRARIES, labelled_stars, read_labelled
from cempstream.models.evaluation.observed_sample import (
    CleanStars,
    at_resolution,
    draw_stars,
    is_carbon_normal,
    is_cemp,
    is_metal_poor,
    join,
    magnitude_at,
    observe_at,
    repeat,
    snr_curve,
)
from cempstream.models.evaluation.purity_night import (
    DangerStrata,
    learn_danger,
    pilot_batches,
    purity_batches,
)
from cempstream.models.evaluation.report import (
    NoInput,
    Question,
    Section,
    Table,
    Value,
    answer,
    write_report,
)
from cempstream.models.evaluation.report_bars import bars
from cempstream.models.evaluation.report_detection import (
    PRIOR,
    ScoredNight,
    bins,
    calibration,
    detection,
    rivals,
    surveys,
)
from cempstream.models.evaluation.report_parameters import coverage, errors, samples
from cempstream.models.evaluation.report_purity import measure_purity, purity
from cempstream.models.evaluation.report_real import real_sky
from cempstream.models.evaluation.report_spectra import attribution, denoiser
from cempstream.models.evaluation.report_survey import one_visit, published, survey, survey_section
from cempstream.models.evaluation.report_variants import transfer, variants
from cempstream.models.evaluation.scored import Scored, score_batches
from cempstream.models.evaluation.survey_night import VISITS, SurveyNight, fold_survey
from cempstream.models.simulator import SimulatedBatch, SurveyProfile, load_mix, load_profile, simulate
from cempstream.models.training.emulator.stellar_library import read_library, stellar_files
from cempstream.models.training.stars import LibraryStars
from cempstream.processors.chain import ProcessorChain
from cempstream.processors.decide import Policy
from cempstream.processors.grid import Array
from cempstream.processors.stars.star import Judge

#: Surveys whose nights test a bundle, by the bundle's name.
EVALUATED_SURVEYS = {"mid": ("lamost", "sdss", "desi"), "low": ("csst:GV",)}
_NIGHT_SEED, _TREES_SEED, _PILOT_SEED, _PURITY_SEED = 7001, 9001, 11001, 12001
#: Parts of the night for purity: what is rare at low resolution takes more spectra.
_PURITY_PARTS = {"mid": 1, "low": 2}
#: Seeds of the parts of the survey that sees its stars again.
_SURVEY_SEEDS = {"mid": (14001, 14021), "low": (13001, 13011, 13021, 13031)}
_SNR_TWICE = 8.0
_SNRS = (5.0, 10.0, 20.0, 30.0, 50.0, 100.0)
_POWERS = (150.0, 200.0, 250.0, 300.0, 600.0, 1000.0, 1800.0, 3000.0, 5000.0)
_AT_SNR = 30.0


@dataclass(frozen=True, slots=True)
class Size:
    """How much is simulated.

    Attributes
    ----------
    natural
        Natural sources of the night.
    stars
        Stars of each chosen sample.
    trees
        Natural sources of the night on which trees are fitted.
    pilot, purity
        Spectra of the pilot and of each part of the night for purity within bins of S/N.
    survey
        Stars of each part of the survey that sees its stars again.
    """

    natural: int = 3_800_000
    stars: int = 150
    trees: int = 2_000_000
    pilot: int = 20_000
    purity: int = 40_000
    survey: int = 512


FULL = Size()
QUICK = Size(natural=30_000, stars=24, trees=60_000, pilot=2_000, purity=6_000, survey=32)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The bundle to evaluate, its inputs, and where results are kept.

    Attributes
    ----------
    chain
        The bundle with all processors, as it is served.
    cache
        Folder of scored spectra, reused by a run that continues or needs the same ones.
    stellar_library
        Files or folders of the synthetic library; empty if there is none.
    real
        Folder of real spectra.
    abundances
        Table of literature abundances in JINAbase's layout.
    work
        Folder of a training run, on whose data small variants are trained.
    fit_trees
        Folder for newly fitted trees; None: the shipped ones.
    most_contamination
        Largest share of a neighbour's light with which the served policy alerts of a source.
    judge
        Makes what folds observations of a star, as the stream does, under a policy.
    """

    bundle: Bundle
    chain: ProcessorChain
    cache: Path
    size: Size = FULL
    stellar_library: Sequence[Path] = ()
    real: Path | None = None
    abundances: Path | None = None
    work: Path | None = None
    fit_trees: Path | None = None
    most_contamination: float = 1.0
    judge: Callable[[Policy], Judge] | None = None
    emulator: Emulator = field(default_factory=Emulator.load)

    @cached_property
    def of_emulator(self) -> Path:
        """Folder of spectra that depend on the emulator and the strata."""
        return self.cache / _key(self.emulator.card["files"], NIGHT_STRATA)

    @cached_property
    def of_bundle(self) -> Path:
        """Folder of this bundle's results for them."""
        graphs = {name: graph.sha256 for name, graph in self.bundle.card.graphs.items()}
        return self.of_emulator / f"{self.bundle.name}-{_key(graphs, self.policy.threshold)}"

    @cached_property
    def policy(self) -> Policy:
        """The rule at the natural prior."""
        return Policy("evaluation", PRIOR, self.bundle.card.threshold(PRIOR))

    @cached_property
    def surveys(self) -> tuple[str, ...]:
        """Profiles of the night."""
        name = self.bundle.card.name
        if name not in EVALUATED_SURVEYS:
            raise NoInput(f"a survey for bundle '{name}'; there are some for {', '.join(EVALUATED_SURVEYS)}")
        return EVALUATED_SURVEYS[name]

    @cached_property
    def night(self) -> ScoredNight:
        """The night, scored by the networks, the trees and the index cut."""
        scored = self._kept(
            self.of_bundle / f"night-{self.size.natural}.npz",
            lambda: kept_batches(
                self.of_emulator / f"spectra-{self.bundle.card.name}-{self.size.natural}",
                lambda: night_batches(
                    self.surveys, self.size.natural, _NIGHT_SEED, load_mix("galaxy"), self.emulator
                ),
            ),
        )
        names = [str(name) for name in scored.line_names]
        found = {}
        if self.trees is not None:
            card = self.trees.card
            found = {
                "trees on line indices": self.trees(scored.lines, names, scored.snr, PRIOR),
                "index cut (GPE, EGP)": index_cut(scored.lines, names, scored.template, card.cut),
            }
        return ScoredNight(scored, self.policy.threshold, found)

    @property
    def _purity_folder(self) -> Path:
        return self.of_bundle / f"purity-{self.size.pilot}"

    @cached_property
    def _danger(self) -> DangerStrata:
        """Which stars come near the threshold, learnt from a pilot."""
        mix, folder = load_mix("galaxy"), self._purity_folder
        pilot = self._kept(
            folder / "pilot.npz",
            lambda: pilot_batches(self.surveys, self.size.pilot, _PILOT_SEED, mix, self.emulator),
        )
        return learn_danger(pilot, mix, _PILOT_SEED)

    @cached_property
    def purity_night(self) -> list[Scored]:
        """The parts of the night for purity within bins of S/N."""
        mix, folder, strata = load_mix("galaxy"), self._purity_folder, self._danger

        def part(number: int) -> Scored:
            n, seed = self.size.purity, _PURITY_SEED + 10 * number
            return self._kept(
                folder / f"{n}-{number}.npz",
                lambda: purity_batches(self.surveys, n, seed, mix, strata, self.emulator),
            )

        return [part(number) for number in range(_PURITY_PARTS[self.bundle.card.name])]

    @cached_property
    def purity_card(self) -> PurityCard:
        """Purity within bins of S/N, as it belongs on the card."""
        name, threshold = self.bundle.card.name, self.policy.threshold
        return measure_purity(self.purity_night, name, threshold, PRIOR, self.most_contamination)

    def seen_again(self) -> Section:
        """What visits and gratings bring."""
        if self.judge is None:
            raise NoInput("a judge of stars")
        name, mix = self.bundle.card.name, load_mix("galaxy")
        strata = replace(self._danger, cemp=1.0)
        profile, visits, sample = self._surveyed
        n_gratings = len(profile.grating)
        n = self.size.survey * (1 if n_gratings > 1 else 4)  # fewer spectra each
        policy = replace(self.policy, observed_from=0.0, max_contamination=self.most_contamination)
        nights = []
        for part, seed in enumerate(_SURVEY_SEEDS[name]):
            path = self.of_bundle / f"survey-{name}-{n}-{part}.npz"
            if not path.is_file():
                n_spectra = n * n_gratings * max(visits)
                batches = simulate(
                    profile, n_spectra, seed, mix, strata=strata, visits=max(visits), emulator=self.emulator
                )
                fold_survey(batches, self.chain, policy, self.judge(policy), visits, n_gratings).save(path)
            nights.append(SurveyNight.load(path))
        night, purity = SurveyNight.joined(nights), self.bundle.card.purity
        table = None if purity is None else purity.table
        alerts = [
            published(night, policy.threshold, table, (0.0, 0.5, 0.8) if table else (0.0,), bands)
            for bands in range(min(n_gratings, 2))
        ]
        most = self.most_contamination
        tables = [one_visit(Scored.joined(self.purity_night), most), survey(night, n_gratings, most), *alerts]
        return survey_section(night, tables, sample)

    @property
    def _surveyed(self) -> tuple[SurveyProfile, tuple[int, ...], str]:
        """Profile, visits and description of the survey that sees its stars again."""
        if self.bundle.card.name == "low":
            return load_profile("csst"), VISITS, "gratings as separate spectra, g 15 to 21"
        profile = load_profile(self.surveys[0])
        at = magnitude_at(self.halo_curve, _SNR_TWICE)
        limits = {"bright": at - 0.1, "faint": at + 0.1}
        magnitudes = profile.magnitudes.model_copy(update=limits)
        chosen = profile.model_copy(update={"magnitudes": magnitudes})
        return chosen, (1, 2), f"S/N about {_SNR_TWICE:g} per Å in each visit"

    @cached_property
    def trees_night(self) -> Scored:
        """Another night, for fitting trees."""
        name = self.bundle.card.name
        path = self.of_emulator / f"trees-night-{name}-{self.size.trees}.npz"
        if self.fit_trees is None and not path.is_file():
            raise NoInput("a second simulated night, which --fit-trees makes")
        mix = load_mix("galaxy")
        return self._kept(
            path, lambda: night_batches(self.surveys, self.size.trees, _TREES_SEED, mix, self.emulator)
        )

    @cached_property
    def trees(self) -> Trees | None:
        """The baseline trees; fitted again if requested."""
        name = self.bundle.card.name
        if self.fit_trees is not None:
            from cempstream.models.evaluation.trees import fit_trees, save_trees

            save_trees(fit_trees(self.trees_night, name, 1), self.fit_trees)
            return Trees.load(name, self.fit_trees)
        try:
            return Trees.load(name, BASELINES)
        except FileNotFoundError:
            return None

    @cached_property
    def rich(self) -> CleanStars:
        """CEMP stars of the halo."""
        return draw_stars(self.size.stars, load_mix("halo"), self.emulator, 31, is_cemp)

    @cached_property
    def normal(self) -> CleanStars:
        """Carbon-normal metal-poor stars of the halo."""
        return draw_stars(self.size.stars, load_mix("halo"), self.emulator, 32, is_carbon_normal)

    @cached_property
    def halo(self) -> CleanStars:
        """Both."""
        return join(self.rich, self.normal)

    @cached_property
    def halo_curve(self) -> Array:
        """Their S/N at the tried magnitudes; only needed for results that are not kept yet."""
        return snr_curve(self.halo, profile_of(self.surveys[0]), 33)

    def _kept(self, path: Path, batches: Callable[[], Iterable[SimulatedBatch]]) -> Scored:
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            score_batches(batches(), self.chain, self.policy).save(path)
        return Scored.load(path)

    def _sample(self, name: str, power: float | None, snr: float, seed: int) -> Scored:
        profile = profile_of(self.surveys[0])
        seen = profile if power is None else at_resolution(profile, power)
        return self._kept(
            self.of_bundle / f"{name}-{self.size.stars}.npz",
            lambda: [observe_at(self.halo, seen, snr, seed, self.halo_curve)],
        )

    def with_noise(self) -> Section:
        """How errors grow towards low S/N."""
        found = {f"S/N {snr:g}": self._sample(f"snr{snr:g}", None, snr, 61) for snr in _SNRS}
        lead = (
            f"The same halo stars, {len(self.rich)} CEMP and {len(self.normal)} carbon-normal with "
            f"[Fe/H] < -1, as {profile_of(self.surveys[0]).survey} would see them at these median S/N per Å."
        )
        return samples(found, "noise", "Degradation with S/N", lead)

    def bound(self) -> Section:
        """The best possible accuracy."""
        card, wave = self.bundle.card, profile_of(self.surveys[0]).grating[0].wave
        grid = card.grid.grid.within(float(wave[0]), float(wave[-1]))
        knots_aa = card.sigma_pix * float(np.diff(grid.wave).mean())
        sight = Sight(grid, card.resolving_power, knots_aa)
        return information(self.emulator, self.halo.labels, sight, _SNRS)

    def with_resolution(self) -> Section:
        """How errors grow towards low resolution."""
        low, high = self.bundle.card.served
        powers = [p for p in _POWERS if low <= p <= min(high, 4 * self.bundle.card.resolving_power)]
        if not powers:
            raise NoInput("a resolving power that the bundle serves")
        found = {f"R {p:g}": self._sample(f"power{p:g}", p, _AT_SNR, 71) for p in powers}
        lead = (
            f"The same stars at S/N {_AT_SNR:g} per Å through spectrographs of other resolving power, with "
            f"2.5 pixels per element; sharper ones are smoothed to R = {self.bundle.card.resolving_power:g}."
        )
        return samples(found, "resolution", "Degradation with resolving power", lead)

    def held_out(self) -> Section:
        """The library's stars that neither emulator nor networks were trained on."""
        if not self.stellar_library:
            raise NoInput("the synthetic library, with --library")
        rows = LibraryStars(read_library(stellar_files(list(self.stellar_library))), "test")
        continuum = np.stack(
            [np.interp(EMULATOR_GRID.wave, rows.continuum_wave, row) for row in rows.continuum]
        )
        once = CleanStars(rows.labels, (rows.norm * continuum).astype(np.float32), np.zeros(len(rows.labels)))
        poor = np.flatnonzero(is_metal_poor(once.labels))
        times = 1 if self.size is QUICK else 4
        profile = profile_of(self.surveys[0])
        stars = repeat(CleanStars(once.labels[poor], once.flux[poor], once.rv_kms[poor]), times)
        kept = f"library{len(stars)}" + ("-published" if rows.caveat else "")
        found = {
            f"S/N {snr:g}": self._kept(
                self.of_bundle / f"{kept}-snr{snr:g}-{self.size.stars}.npz",
                lambda snr=snr: [observe_at(stars, profile, snr, 81, snr_curve(stars, profile, 33))],  # type: ignore[misc]
            )
            for snr in (20.0, 50.0)
        }
        lead = (
            f"{poor.size} computed stars{rows.caveat}, with [Fe/H] < -1, that neither emulator nor "
            f"networks saw, each observed {times} times; intervals by bootstrap over stars. Their labels "
            "fill a box, not the sky: many are combinations that no star has. The emulator's error is in "
            "these figures."
        )
        return samples(found, "held-out", "Held out by star: the library", lead)

    def throughput(self) -> Section:
        """Speed."""
        scored, card = self.night.scored, self.bundle.card
        rate = len(scored) / scored.cpu_s
        rows: list[list[Value]] = [
            ["all processors, spectra per CPU second", rate],
            ["CPU seconds per 1,000 spectra", 1000 / rate],
        ]
        rows += [[f"{name}, MFLOP a spectrum", graph.mflop] for name, graph in card.graphs.items()]
        lead = (
            "Measured on the night's spectra, in batches of 64, one thread, without reading packets or Kafka;"
            " on a machine shared with other work this is CPU time, not the clock's. The stream's own rate "
            "is what `cempstream bench stream` measures."
        )
        table = Table("Throughput", ("what", "value"), rows)
        return Section("throughput", "Throughput", lead, [table])

    def on_real_sky(self) -> Section:
        """Results of the bundle on real spectra."""
        return real_sky(
            lambda spectra: self.chain.process_spectra(spectra, self.policy),
            self.real,
            self.emulator,
            self.bundle.card.resolving_power,
            self.of_bundle / "real.json",
        )

    def labelled(self) -> Section:
        """Errors and coverage on real stars, without and with photometry."""
        if self.real is None:
            raise NoInput("real spectra, with --real")
        stars = read_labelled(self.real, self.abundances)
        if not len(stars):
            raise NoInput(f"{' or '.join(LIBRARIES)} among the real spectra")
        return labelled_stars(
            lambda spectra: self.chain.process_spectra(spectra, self.policy),
            stars,
            self.bundle.card.resolving_power,
        )

    @property
    def questions(self) -> list[Question]:
        """All sections in the order of the report."""
        profile = profile_of(self.surveys[0])
        return [
            Question("detection", "CEMP stars at the natural prior", lambda: detection(self.night)),
            Question("bins", "For which stars", lambda: bins(self.night)),
            Question(
                "purity",
                "Purity within bins of S/N",
                lambda: purity(self.purity_night, self.purity_card, self.most_contamination),
            ),
            Question("survey", "Stars seen again", self.seen_again),
            Question("calibration", "Are the probabilities right?", lambda: calibration(self.night)),
            Question("rivals", "Trees and index cut", self._rivals),
            Question("surveys", "Survey by survey", lambda: surveys(self.night)),
            Question("parameters", "Parameters", lambda: errors(self.night.scored)),
            Question("coverage", "Interval coverage", lambda: coverage(self.night.scored)),
            Question("noise", "Degradation with S/N", self.with_noise),
            Question("information", "What a spectrum can tell", self.bound),
            Question("resolution", "Degradation with resolving power", self.with_resolution),
            Question("held-out", "Held out by star: the library", self.held_out),
            Question(
                "attribution",
                "Explanations",
                lambda: attribution(self.chain, self.bundle.card, self.rich, profile),
            ),
            Question("denoiser", "The denoiser", self._denoiser),
            Question(
                "variants",
                "Ablations and learning curve",
                lambda: variants(
                    self.work,
                    self.chain,
                    self.bundle.card,
                    self.of_bundle / "variants.json",
                ),
            ),
            Question("transfer", "Leave one survey out", lambda: transfer(self.trees_night)),
            Question("throughput", "Throughput", self.throughput),
            Question("real", "The real sky", self.on_real_sky),
            Question("labelled", "Real stars of known parameters", self.labelled),
        ]

    def write(
        self, questions: Sequence[Question], out: Path, told: Callable[[str], None]
    ) -> tuple[Path, Path]:
        """Write a report of these sections and return its page and its numbers."""
        sections = answer(questions, told)
        card, emulator = self.bundle.card, self.emulator.card
        facts: dict[str, Value] = {
            "bundle": self.bundle.name,
            "sha256 of its graphs": ", ".join(f"{n} {g.sha256[:12]}…" for n, g in card.graphs.items()),
            "trained on": f"{card.training.n_spectra:,} spectra of {card.training.n_stars:,} stars",
            "emulator": f"version {emulator['version']}, {emulator['library']['lines']} lines",
            "nights": ", ".join(self.surveys) + " (simulator profiles), mix 'galaxy'",
            "prior": PRIOR,
            "threshold": self.policy.threshold,
        }
        lead = (
            "Made by `cempstream evaluate`. Every figure has its sample size and a 95 % interval unless it "
            "says otherwise. All nights are simulated from the forward model; only the last section is sky."
        )
        title = f"Evaluation of {self.bundle.name}"
        return write_report(
            out, title, lead, facts, [bars(sections, is_low=card.resolving_power < 500), *sections]
        )

    def _rivals(self) -> Section:
        if self.trees is None:
            raise NoInput(f"trees for '{self.bundle.card.name}', which --fit-trees makes")
        return rivals(self.night)

    def _denoiser(self) -> Section:
        mix = load_mix("halo")
        teaching = draw_stars(
            6 * self.size.stars,
            mix,
            self.emulator,
            34,
            lambda labels: labels[:, LABEL_NAMES.index("feh")] < 0,
        )
        profile = profile_of(self.surveys[0])
        return denoiser(self.chain, self.bundle.card, self.rich, self.normal, teaching, profile)


def _key(*facts: object) -> str:
    """Return eight hex digits that differ where the facts do."""
    return sha256(repr(facts).encode()).hexdigest()[:8]
