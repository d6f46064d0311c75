"""Classify from a program or a notebook: load the models once, give spectra in any form, get a table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from cempstream.models.sessions import Provider
from cempstream.processors.readers import ReadOptions, UnreadableFile, expand_paths, read_spectra
from cempstream.processors.readers.memory import (
    Given,
    build_given,
    given_arrays,
    given_specutils,
    is_specutils,
)
from cempstream.processors.spectrum import Frame, Medium, Spectrum
from cempstream.streams.scoring.assemble import load_pipeline
from cempstream.streams.scoring.files import Read, classify_spectra
from cempstream.streams.scoring.result import Results
from cempstream.streams.scoring.result_table import ResultCell, quantity_table, table_metadata
from cempstream.streams.scoring.star_result import STAR_COLUMN_INFO
from cempstream.streams.scoring.stars import observing, results_of_stars
from cempstream.streams.settings import read_settings

if TYPE_CHECKING:
    from astropy.table import QTable

#: A file or folder, a ``Spectrum``, a spectrum of specutils, or any sequence of these.
Spectra: TypeAlias = Any


def _refuse(error: UnreadableFile) -> None:
    raise error


class Classifier:
    """The models of ``cempstream classify``, loaded once.

    Parameters
    ----------
    bundles
        Names of model bundles, ``"mid"`` or ``"mid/1.4.0"``; None leaves it to the settings, which serve
        R ≈ 1800 and slitless spectra.
    provider
        Where the networks run: ``"cpu"``, ``"cuda"`` or ``"tensorrt"``; None leaves it to the settings.
    prior
        Fraction of CEMP stars among your spectra; None leaves it to the settings, 3e-4 as on the sky. It
        moves every probability and the threshold.

    Raises
    ------
    BundleError
        A bundle is missing or is not what its card says.
    ProviderUnavailable
        The networks do not run on the provider asked for.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy import units as u
    >>> from cempstream import Classifier
    >>> classifier = Classifier("mid")
    >>> wave = np.linspace(370, 900, 4000) * u.nm
    >>> flux = np.full(4000, 2e-16) * u.erg / u.s / u.cm**2 / u.AA
    >>> results = classifier.classify_arrays(wave, flux, error=flux / 50, resolving_power=1800)
    >>> results[0].is_candidate
    False
    >>> results["teff"].unit
    Unit("K")
    """

    def __init__(
        self,
        bundles: Sequence[str] | str | None = None,
        provider: Provider | str | None = None,
        *,
        prior: float | None = None,
    ) -> None:
        names = (bundles,) if isinstance(bundles, str) else bundles if bundles is None else tuple(bundles)
        settings = read_settings(models={"provider": provider, "bundles": names})
        if prior is not None:
            if not 0.0 < prior < 1.0:
                raise ValueError(f"prior is {prior}; it must lie between 0 and 1")
            policy = settings.policy.model_copy(update={"prior": prior, "survey_priors": {}})
            settings = settings.model_copy(update={"policy": policy})
        self._pipeline = load_pipeline(settings)
        self._batch_size = settings.batch.size
        self._provider = settings.models.provider

    @property
    def bundles(self) -> tuple[str, ...]:
        """Name and version of the loaded models, in the order in which they are tried."""
        return tuple(route.chain.name for route in self._pipeline.routes)

    def classify(
        self,
        spectra: Spectra,
        *,
        medium: Medium | None = None,
        frame: Frame | None = None,
        resolving_power: float | None = None,
        survey: str | None = None,
        wave_unit: str | None = None,
        columns: Sequence[str] | None = None,
        on_unreadable: Callable[[UnreadableFile], None] = _refuse,
    ) -> Results:
        """Classify spectra: one result each, in order; a rejected spectrum keeps its place and says why.

        Parameters
        ----------
        spectra
            The name of a file or folder, a `Spectrum`, a ``specutils.Spectrum`` (``Spectrum1D`` before 2.0),
            or a sequence of any of these. Fluxes and wavelengths of specutils may have any unit; a flux
            without a unit of flux density is relative. What is missing from ``meta`` (``medium``, ``frame``,
            ``resolving_power``) is estimated from the whole sequence together, and flagged.
        medium, frame, resolving_power, survey
            What you know better than the files or ``meta``: ``"air"`` or ``"vacuum"``, ``"observed"`` or
            ``"rest"``, λ/FWHM, and a short name. A `Spectrum` already says all this and is used as it is.
        wave_unit, columns
            What plain tables do not say: the unit of their wavelengths, ``"nm"``, and the names of their
            columns in order, ``("wave", "flux", "error")``.
        on_unreadable
            Called with the error of a file that cannot be read; the other files are still classified. By
            default the error is raised.

        Raises
        ------
        UnreadableFile
            A file cannot be read.
        TypeError, ValueError
            Something is not a spectrum, or a unit or an option is wrong.
        """
        options = ReadOptions(
            medium=medium,
            frame=frame,
            resolving_power=resolving_power,
            survey=survey,
            wave_unit=wave_unit,
            columns=None if columns is None else tuple(columns),
        )
        return self._run(_read(spectra, options, on_unreadable))

    def classify_stars(
        self,
        spectra: Spectra,
        *,
        medium: Medium | None = None,
        frame: Frame | None = None,
        resolving_power: float | None = None,
        survey: str | None = None,
        on_unreadable: Callable[[UnreadableFile], None] = _refuse,
    ) -> QTable:
        """Classify stars that were observed more than once: what ``cempstream classify --stars`` writes.

        Parameters
        ----------
        spectra
            As for `classify`, in any order; those of one survey and ``object_id`` are one star. All are held
            in memory.
        medium, frame, resolving_power, survey, on_unreadable
            As for `classify`.

        Returns
        -------
        astropy.table.QTable
            One row per star, in the order of their first spectra, with units and UCDs.

        Raises
        ------
        UnreadableFile
            A file cannot be read.
        TypeError, ValueError
            Something is not a spectrum, or an option is wrong.
        """
        options = ReadOptions(medium=medium, frame=frame, resolving_power=resolving_power, survey=survey)
        pipeline = observing(self._pipeline)
        reads = _read(spectra, options, on_unreadable)
        results = classify_spectra(reads, pipeline, batch_size=self._batch_size)
        stars = list(results_of_stars(results, pipeline))
        return quantity_table(
            [star.row for star in stars], table_metadata(star.outcome for star in stars), STAR_COLUMN_INFO
        )

    def classify_arrays(
        self,
        wave: Any,
        flux: Any,
        *,
        error: Any = None,
        ivar: Any = None,
        mask: Any = None,
        ids: Sequence[str] | str | None = None,
        medium: Medium | None = None,
        frame: Frame | None = None,
        resolving_power: float | None = None,
        survey: str | None = None,
    ) -> Results:
        """Classify arrays, with units (``astropy.units``) or plain.

        Parameters
        ----------
        wave
            Pixel centres, shape ``(n_pix,)`` or ``(n_spec, n_pix)``: a length, frequency or energy; plain
            numbers are Å.
        flux
            Shape ``(n_pix,)`` or ``(n_spec, n_pix)``. A flux density (per Å, nm, Hz…) is absolute; counts and
            plain numbers are relative.
        error, ivar
            1σ error or inverse variance, like `flux`; without either it is estimated from the scatter.
        mask
            True or non-zero where a pixel is bad.
        ids
            The spectra's names.
        medium, frame, resolving_power, survey
            As for `classify`; what is not given is estimated from the spectra and flagged.

        Raises
        ------
        ValueError
            A unit, a shape or an option is wrong.
        """
        options = ReadOptions(medium=medium, frame=frame, resolving_power=resolving_power, survey=survey)
        given = given_arrays(wave, flux, error=error, ivar=ivar, mask=mask, ids=ids)
        return self._run((None, spectrum) for spectrum in build_given(given, options))

    def _run(self, reads: Iterable[Read]) -> Results:
        return Results(classify_spectra(reads, self._pipeline, batch_size=self._batch_size))

    def __repr__(self) -> str:
        return f"<Classifier: {', '.join(self.bundles)} on {self._provider.value}>"


def classify(
    paths: Path | str | Sequence[Path | str],
    *,
    medium: Medium | None = None,
    frame: Frame | None = None,
    resolving_power: float | None = None,
    survey: str | None = None,
    wave_unit: str | None = None,
    columns: Sequence[str] | None = None,
    provider: Provider | str | None = None,
    bundles: Sequence[str] | None = None,
) -> list[dict[str, ResultCell]]:
    """Classify files: one row per spectrum, in order, with the columns of ``cempstream classify``.

    Every call loads the models; a `Classifier` keeps them, and gives a table with units.

    Parameters
    ----------
    paths
        One or several files, or folders of them.
    medium, frame, resolving_power, survey, wave_unit, columns
        What the caller knows better than the files; see ``ReadOptions``.
    provider, bundles
        Where the networks run and which models are used; None leaves it to the settings.

    Raises
    ------
    UnreadableFile
        A file cannot be read.
    BundleError, ProviderUnavailable
        The models cannot be loaded, or do not run on the provider asked for.
    """
    results = Classifier(bundles, provider).classify(
        paths,
        medium=medium,
        frame=frame,
        resolving_power=resolving_power,
        survey=survey,
        wave_unit=wave_unit,
        columns=columns,
    )
    return [dict(result.row) for result in results]


def _read(
    spectra: Spectra, options: ReadOptions, on_unreadable: Callable[[UnreadableFile], None]
) -> Iterator[Read]:
    """Yield spectra in order; neighbours from specutils are built together."""
    given: list[Given] = []
    n_seen = 0
    for one in _flattened(spectra):
        if is_specutils(one):
            given.extend(given_specutils(one, f"spectrum-{n_seen}"))
            n_seen += 1
            continue
        yield from ((None, built) for built in build_given(given, options))
        given = []
        if isinstance(one, Spectrum):
            yield None, one
            n_seen += 1
            continue
        for path in expand_paths([one]):
            try:
                for read in read_spectra(path, options):
                    yield str(path), read
            except UnreadableFile as error:
                on_unreadable(error)
    yield from ((None, built) for built in build_given(given, options))


def _flattened(spectra: Spectra) -> Iterator[Any]:
    """Yield the items of a sequence, also of nested sequences."""
    if isinstance(spectra, str | Path | Spectrum) or is_specutils(spectra):
        yield spectra
    elif isinstance(spectra, Sequence | Iterator):
        for one in spectra:
            yield from _flattened(one)
    else:
        raise TypeError(
            f"{type(spectra).__name__} is no spectrum; give a file, a Spectrum or a specutils.Spectrum, "
            "and arrays to classify_arrays"
        )
