"""What a training run depends on, read from a TOML file."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from cempstream.models.training.balmer import BalmerCores
from cempstream.models.training.fit import Schedule
from cempstream.models.training.late_errors import hydrogen_pixels
from cempstream.models.training.networks import Shape
from cempstream.processors.grid import LogGrid

CONFIGS = Path(__file__).parent / "configs"


class TrainingConfig(BaseModel):
    """One training run; the same configuration, library and code give the same bundle.

    Attributes
    ----------
    source
        ``emulator``: any label; ``library``: the library's rows as they are.
    emulator
        Folder of the emulator; None: the shipped one.
    n_tokens, stride
        How the networks divide the grid, see ``networks.Shape``.
    instruments
        What observes the training spectra: spectrographs with ``slits`` or fibres, R = 600 to 5000, or
        ``slitless`` and other low-resolution ones, R = 100 to 500.
    balmer
        Depth of Balmer cores: ``any``, drawn independently of the star, or as ``measured`` by temperature and
        metallicity (``balmer_deepening.csv``).
    snr_range
        S/N per Å of the training spectra.
    per_instrument
        Spectra observed with one instrument.
    unmeasured
        Parameters that cannot be measured at the bundle's resolution.
    n_night
        Spectra of the simulated night, drawn by strata, that calibrates the probabilities.
    purity
        Required share of correct alerts at the natural prior.
    fuse_epochs
        Epochs of the network that takes photometry, in which the others stay as they are.
    base
        A bundle, as ``mid/1.4.0``, whose networks and templates stay as they are: only the one that takes
        photometry is trained.
    served
        Smallest and largest λ/FWHM that the bundle is meant for.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    bundle: Literal["mid", "low"] = "mid"
    version: Annotated[str, Field(pattern=r"^\d+\.\d+\.\d+$")]
    seed: int = 1
    source: Literal["emulator", "library"] = "emulator"
    emulator: Path | None = None
    log10_start: float = 3.57
    log10_step: float = 1e-4
    n_pix: int = 3840
    resolving_power: float = 1800.0
    served: tuple[float, float] = (500.0, 50000.0)
    sigma_pix: float = 96.0
    n_tokens: int = 80
    stride: int = 4
    instruments: Literal["slits", "slitless"] = "slits"
    balmer: BalmerCores = "any"
    snr_range: tuple[float, float] = (3.0, 150.0)
    per_instrument: Annotated[int, Field(ge=1)] = 192
    unmeasured: tuple[str, ...] = ()
    n_templates: int = 256
    n_train: Annotated[int, Field(ge=64)] = 80_000
    n_calibration: Annotated[int, Field(ge=64)] = 12_000
    n_test: Annotated[int, Field(ge=64)] = 3_000
    n_night: Annotated[int, Field(ge=64)] = 12_000
    purity: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.5
    contaminants: float = 0.25
    denoise_epochs: int = 2
    epochs: int = 6
    fuse_epochs: int = 2
    base: str | None = None
    batch: int = 192
    learning_rate: float = 2.5e-3
    threads: int = 1

    @property
    def grid(self) -> LogGrid:
        """Return the bundle's grid."""
        return LogGrid(self.log10_start, self.log10_step, self.n_pix)

    @property
    def shape(self) -> Shape:
        """Return the size of the networks."""
        return Shape(self.n_pix, self.n_tokens, self.stride)

    @property
    def schedule(self) -> Schedule:
        """Return the settings of the optimiser."""
        return Schedule(
            denoise_epochs=self.denoise_epochs,
            epochs=self.epochs,
            fuse_epochs=self.fuse_epochs,
            batch=self.batch,
            learning_rate=self.learning_rate,
            seed=self.seed,
            threads=self.threads,
            hydrogen_pix=() if self.balmer == "measured" else hydrogen_pixels(self.grid),
        )

    @property
    def facts(self) -> dict[str, int | float | str | bool | None]:
        """Return the scalar settings for the card."""
        return {
            name: value
            for name, value in self.model_dump(mode="json").items()
            if value is None or isinstance(value, int | float | str | bool)
        }


def read_config(path: Path) -> TrainingConfig:
    """Read a configuration.

    Raises
    ------
    pydantic.ValidationError
        Where a field is unknown, missing or out of range.
    """
    return TrainingConfig.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
