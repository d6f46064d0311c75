"""Sections on spectra: what the attribution points at, and how the denoiser changes carbon bands."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from cempstream.models.card import Card
from cempstream.models.evaluation.attribution import score_attribution
from cempstream.models.evaluation.observed_sample import (
    CleanStars,
    observe_at,
    observe_clean,
    rest_frame,
    rest_frame_as_served,
    snr_curve,
    without_faults,
)
from cempstream.models.evaluation.report import NoInput, ReportPicture, Section, Table, Value, draw
from cempstream.models.simulator import SurveyProfile
from cempstream.models.statistics import Measured, share, statistic
from cempstream.processors.batch import NormalisedBatch
from cempstream.processors.chain import ProcessorChain
from cempstream.processors.graph import Tensor
from cempstream.processors.grid import Array

_PRIOR = 3e-4
_SNRS = (5.0, 10.0, 20.0, 40.0)
#: Indices by the band that they measure; Å but for the ratios.
_BANDS = {
    "CH G (GPE)": "gpe",
    "C2 4737 (EW)": "ew_c2_4737",
    "C2 5165 (ratio)": "c2_5165",
    "CN 4142 (CN1, mag)": "lick_cn1",
    "Ca K (K12)": "k12",
}
_N_COMPONENTS = 24
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")


def attribution(chain: ProcessorChain, card: Card, stars: CleanStars, profile: SurveyProfile) -> Section:
    """Report whether attributions point at known features, and whether these matter to the classifier."""
    rows: list[list[Value]] = []
    curve = snr_curve(stars, profile, 40)
    for snr in (20.0, 40.0):
        rest = rest_frame_as_served(observe_at(stars, profile, snr, 41, curve), chain)
        logit, _ = _explain(chain)(rest.norm, rest.ivar)
        p = card.cemp.calibration(logit, _PRIOR)
        found = np.flatnonzero(p >= card.threshold(_PRIOR))
        if found.size < 20:
            rows.append([snr, int(found.size), None, None, None, None, None])
            continue
        score = score_attribution(
            _explain(chain), rest.norm[found], rest.ivar[found], np.array(card.attribution_edges_aa)
        )
        rows.append(
            [
                snr,
                score.n,
                score.inside,
                score.chance,
                score.inside / score.chance,
                score.lost_top,
                score.deletion_ratio,
            ]
        )
    columns = (
        "S/N per Å", "CEMP stars found", "share inside the windows", "by chance", "over chance",
        "logit lost without the top tenth", "over a random tenth",
    )  # fmt: skip
    lead = (
        "CEMP stars that are found at the card's threshold. The share of the attribution inside the physical "
        "windows against that of an even one over the same data; and the deletion test: the tenth of the "
        "bins with the highest attribution removed, against random bins of equal width. Bar: 60 % and three "
        "times chance; three times random. Grad-CAM needs gradients, so training compares, and the card "
        "keeps the mean rank correlation over the bins and the share of the attribution in the fifth of "
        "the bins that Grad-CAM ranks highest (0.2 by chance)."
    )
    against: list[list[Value]] = [
        [score.name.replace("_", " "), Measured(score.value, score.low, score.high, score.n), score.sample]
        for score in card.scores
        if score.name.startswith("attribution")
    ]
    tables = [Table("Attribution", columns, rows)]
    if against:
        tables.append(Table("Against Grad-CAM (68 % intervals)", ("what", "value", "sample"), against))
    return Section("attribution", "Explanations", lead, tables)


def denoiser(
    chain: ProcessorChain,
    card: Card,
    rich: CleanStars,
    normal: CleanStars,
    teaching: CleanStars,
    profile: SurveyProfile,
) -> Section:
    """Report the denoiser's gain in noise, its bias in carbon, and its effect on later steps."""
    try:
        import pywt  # noqa: F401
    except ModuleNotFoundError as error:
        raise NoInput("the wavelet filter needs the package PyWavelets") from error
    calm = without_faults(profile)
    basis = _pca(rest_frame(observe_clean(teaching, calm, 51), chain))
    ways: dict[str, Callable[[NormalisedBatch], Array]] = {
        "raw": lambda seen: seen.norm,
        "network": lambda seen: _denoised(chain, seen),
        "PCA": lambda seen: _project(seen, *basis),
        "wavelet": _wavelet,
    }
    curves = {name: snr_curve(s, calm, 50) for name, s in _both(rich, normal).items()}
    clean = {name: rest_frame(observe_clean(s, calm, 52), chain) for name, s in _both(rich, normal).items()}
    gain_rows: list[list[Value]] = []
    bias_rows: list[list[Value]] = []
    down_rows: list[list[Value]] = []
    # At low resolution the narrow ones are not measured.
    bands = {label: index for label, index in _BANDS.items() if index in chain.extract.lines.names}
    bias_of_network: dict[str, list[Measured]] = {name: [] for name in bands}
    for i, snr in enumerate(_SNRS):
        seen = {
            name: rest_frame(observe_at(s, calm, snr, 53 + i, curves[name]), chain)
            for name, s in _both(rich, normal).items()
        }
        made = {name: {way: make(seen[name]) for way, make in ways.items()} for name in seen}
        for name in seen:
            raw_error = _rms(made[name]["raw"], clean[name], seen[name])
            gains: list[Value] = []
            for way in ("network", "PCA", "wavelet"):
                decibel = 20 * np.log10(raw_error / _rms(made[name][way], clean[name], seen[name]))
                gains.append(statistic(lambda d: float(np.mean(d)), decibel, unit="dB"))
            gain_rows.append([name, snr, *gains])
        for label, index in bands.items():
            for name in seen:
                true = _index(chain, clean[name].norm, seen[name].ivar, index)
                row: list[Value] = [label, name, snr]
                for way in ("raw", "network", "PCA", "wavelet"):
                    difference = _index(chain, made[name][way], seen[name].ivar, index) - true
                    difference = difference[np.isfinite(difference)]
                    bias = statistic(lambda d: float(np.mean(d)), difference)
                    row.append(bias)
                    if way == "network" and name == "CEMP":
                        bias_of_network[label].append(bias)
                bias_rows.append(row)
        down_rows += _downstream(chain, card, snr, seen, {"CEMP": rich, "carbon-normal": normal})
    lead = (
        "Stars observed without faults, so that noise is all there is; the same stars without noise are the "
        "truth. Gain: by how much the rms error falls against the raw spectrum, dB (20 log10). PCA: "
        f"{_N_COMPONENTS} components of noise-free stars of the same emulator and mix, fitted with inverse "
        "variances and a Gaussian prior; wavelet: sym8, soft universal threshold on the flux in units of its "
        "error. 'Raw in its place': the "
        "same networks with the raw spectrum where the denoised one is read; they were not trained so, the "
        "variants trained without a denoiser are among the ablations."
    )
    tables = [
        Table("Noise", ("stars", "S/N per Å", "network", "PCA", "wavelet"), gain_rows),
        Table(
            "Mean error of indices against the noise-free spectrum",
            ("index", "stars", "S/N per Å", "raw", "network", "PCA", "wavelet"),
            bias_rows,
        ),
        Table(
            "Downstream, with the denoised spectrum and with the raw in its place",
            (
                "S/N per Å", "input", "[Fe/H] MAE", "[C/Fe] MAE, CEMP", "recall of CEMP stars",
                "carbon-normal stars above p = 0.01", "above the threshold",
            ),
            down_rows,
        ),
    ]  # fmt: skip
    return Section("denoiser", "The denoiser", lead, tables, [_draw_bias(bias_of_network)])


def _draw_bias(bias: Mapping[str, list[Measured]]) -> ReportPicture:
    figure = Figure(figsize=(10, 2.8), layout="constrained")
    axes = figure.subplots(1, len(bias), squeeze=False)
    for axis, (label, values) in zip(axes[0], bias.items(), strict=True):
        middle = [v.value for v in values]
        spread = np.clip([[v.value - v.low, v.high - v.value] for v in values], 0, None).T
        axis.errorbar(_SNRS, middle, yerr=spread, fmt="o-", color=_COLOURS[0], markersize=4)
        axis.axhline(0.0, color="#999999", linewidth=0.8)
        axis.set(xscale="log", title=label, xlabel="S/N per Å")
        axis.xaxis.set_minor_locator(NullLocator())
        axis.set_xticks(_SNRS, [f"{snr:g}" for snr in _SNRS])
        axis.title.set_fontsize(8)
    return draw(figure, "Mean error of carbon indices in the denoised spectra of CEMP stars, 95 % intervals.")


def _both(rich: CleanStars, normal: CleanStars) -> dict[str, CleanStars]:
    return {"CEMP": rich, "carbon-normal": normal}


def _explain(chain: ProcessorChain) -> Callable[[Array, Array], tuple[Array, Array]]:
    def explain(norm: Array, ivar: Array) -> tuple[Array, Array]:
        out = _classify(chain, norm, ivar)
        return out["logit_cemp"].astype(np.float64), out["attribution"].astype(np.float64)

    return explain


def _denoised(chain: ProcessorChain, seen: NormalisedBatch) -> Array:
    return chain.denoise(seen).clean.numpy()


def _tokens(chain: ProcessorChain, norm: Array, ivar: Array, clean: Array | None = None) -> Tensor:
    graph = chain.denoise.graph
    raw, noise = graph.put(norm.astype(np.float32)), graph.put(ivar.astype(np.float32))
    denoised = graph(norm=raw, ivar=noise)["clean"] if clean is None else graph.put(clean)
    return chain.extract.graph(norm=raw, ivar=noise, clean=denoised)["tokens"]


def _classify(chain: ProcessorChain, norm: Array, ivar: Array) -> dict[str, Array]:
    parts: list[dict[str, Array]] = []
    for first in range(0, len(norm), 256):
        rows = slice(first, first + 256)
        tokens = _tokens(chain, norm[rows], ivar[rows])
        out = chain.classify.graph(tokens=tokens)
        parts.append({name: out[name].numpy() for name in ("logit_cemp", "attribution")})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _downstream(
    chain: ProcessorChain,
    card: Card,
    snr: float,
    seen: Mapping[str, NormalisedBatch],
    stars: Mapping[str, CleanStars],
) -> list[list[Value]]:
    rows: list[list[Value]] = []
    feh, cfe = 2, 3
    threshold = card.threshold(_PRIOR)
    for name in ("denoised", "raw in its place"):
        p, mean = {}, {}
        for kind, batch in seen.items():
            clean = None if name == "denoised" else batch.norm
            tokens = _tokens(chain, batch.norm, batch.ivar, clean)
            logit = chain.classify.graph(tokens=tokens)["logit_cemp"].numpy().astype(np.float64)
            p[kind] = card.cemp.calibration(logit, _PRIOR)
            mean[kind] = chain.regress.graph(tokens=tokens)["mean"].numpy().astype(np.float64)
        wrong = np.concatenate([np.abs(mean[k][:, feh] - stars[k].labels[:, feh]) for k in seen])
        carbon = np.abs(mean["CEMP"][:, cfe] - stars["CEMP"].labels[:, cfe])
        rows.append(
            [
                snr,
                name,
                statistic(lambda e: float(np.mean(e)), wrong, unit="dex"),
                statistic(lambda e: float(np.mean(e)), carbon, unit="dex"),
                share(p["CEMP"] >= threshold),
                share(p["carbon-normal"] >= 0.01),
                share(p["carbon-normal"] >= threshold),
            ]
        )
    return rows


def _index(chain: ProcessorChain, norm: Array, ivar: Array, name: str) -> Array:
    """Measure an index on a normalised spectrum; the running mean is used as the continuum."""
    flux = np.asarray(norm, dtype=np.float32)
    batch = NormalisedBatch(chain.extract.lines.grid, flux, ivar, np.ones_like(flux))
    measured = chain.extract.lines(batch)
    return measured.value[:, measured.names.index(name)].astype(np.float64)


def _rms(made: Array, clean: NormalisedBatch, seen: NormalisedBatch) -> Array:
    good = (seen.ivar > 0) & (clean.ivar > 0)
    return np.asarray(
        np.sqrt(((made - clean.norm) ** 2 * good).sum(axis=1) / np.maximum(good.sum(axis=1), 1))
    )


def _pca(clean: NormalisedBatch) -> tuple[Array, Array, Array]:
    """Return mean, components ``(k, n_pix)`` and their variances of noise-free spectra."""
    mean = clean.norm.mean(axis=0)
    _, spread, components = np.linalg.svd(clean.norm - mean, full_matrices=False)
    k = min(_N_COMPONENTS, len(spread))
    return mean, components[:k], (spread[:k] ** 2 / len(clean.norm)).astype(np.float32)


def _project(seen: NormalisedBatch, mean: Array, components: Array, variance: Array) -> Array:
    """Return the most probable spectra in the space of the components."""
    made = np.empty_like(seen.norm)
    for row, (norm, ivar) in enumerate(zip(seen.norm, seen.ivar, strict=True)):
        weighted = components * ivar
        matrix = weighted @ components.T + np.diag(1.0 / variance)
        made[row] = mean + np.linalg.solve(matrix, weighted @ (norm - mean)) @ components
    return made


def _wavelet(seen: NormalisedBatch) -> Array:
    """Filter spectra in units of their error: soft universal threshold (Donoho & Johnstone 1994)."""
    import pywt

    made = np.empty_like(seen.norm)
    n_pix = seen.norm.shape[1]
    limit = np.sqrt(2 * np.log(n_pix))
    for row, (norm, ivar) in enumerate(zip(seen.norm, seen.ivar, strict=True)):
        good = ivar > 0
        typical = float(np.median(ivar[good])) if good.any() else 1.0
        scale = np.sqrt(np.where(good, ivar, typical))
        parts = pywt.wavedec((norm - 1.0) * scale, "sym8", mode="symmetric", level=6)
        parts = [parts[0], *(pywt.threshold(part, limit, mode="soft") for part in parts[1:])]
        made[row] = 1.0 + pywt.waverec(parts, "sym8", mode="symmetric")[:n_pix] / scale
    return made
