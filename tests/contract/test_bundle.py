"""A bundle is served only when every file is the one that its card describes."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cempstream.models.bundle import (
    BUNDLES,
    CARD_FILE,
    Bundle,
    BundleError,
    load_bundle,
    newest_bundle,
    write_manifest,
)
from cempstream.models.card import FUSE, GRAPHS
from cempstream.models.manifest import MANIFEST_FILE
from cempstream.models.sessions import OrtGraph, Provider
from cempstream.processors.outcome import PARAMETERS, SUBCLASSES
from tests.support.bundles import copy_bundle, edit_card

#: Every bundle that comes with the package.
NAMES = ("low", "mid")


@pytest.fixture(scope="module", params=NAMES)
def shipped(request: pytest.FixtureRequest) -> Bundle:
    """Return the newest version of each bundle."""
    return load_bundle(newest_bundle(BUNDLES, request.param))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a copy of the shipped bundle that a test may break."""
    return copy_bundle(tmp_path / "mid")


def test_every_folder_of_bundles_is_tested() -> None:
    assert {path.parent.parent.name for path in BUNDLES.glob(f"*/*/{CARD_FILE}")} == set(NAMES)


def test_a_shipped_bundle_is_what_its_card_says(shipped: Bundle) -> None:
    bundle = shipped
    assert tuple(bundle.graphs) in (GRAPHS, (*GRAPHS, FUSE))
    assert (FUSE in bundle.graphs) == (bundle.card.fused is not None)
    assert bundle.name == f"{bundle.folder.parent.name}-{bundle.card.version}"
    assert bundle.templates.norm.shape == (bundle.card.templates.n_templates, bundle.card.grid.n_pix)
    assert sum(graph.mflop for graph in bundle.card.graphs.values()) <= 15.0
    assert "/" not in bundle.card.training.command


def test_the_shipped_graphs_chain_and_rows_in_are_rows_out(shipped: Bundle) -> None:
    bundle = shipped
    graphs = {name: OrtGraph(name, model, Provider.CPU, threads=1) for name, model in bundle.graphs.items()}
    norm = bundle.templates.norm[:5]
    put = graphs["denoise"].put
    given = {"norm": put(norm), "ivar": put(np.full_like(norm, 900.0))}
    clean = graphs["denoise"](**given)["clean"]
    tokens = graphs["features"](**given, clean=clean)["tokens"]
    classes = {name: tensor.numpy() for name, tensor in graphs["classify"](tokens=tokens).items()}
    parameters = {name: tensor.numpy() for name, tensor in graphs["regress"](tokens=tokens).items()}
    n_bins = len(bundle.card.attribution_edges_aa) - 1
    assert clean.numpy().shape == norm.shape
    assert classes["logit_cemp"].shape == (5,)
    assert classes["logit_subclass"].shape == (5, len(SUBCLASSES))
    assert classes["attribution"].shape == (5, n_bins)
    assert classes["attribution"].min() >= 0
    assert classes["attribution"].sum(axis=1) == pytest.approx(np.ones(5), abs=1e-5)
    assert parameters["mean"].shape == (5, len(PARAMETERS))
    alone = graphs["denoise"](norm=put(norm[3:4]), ivar=put(np.full_like(norm[3:4], 900.0)))["clean"].numpy()
    assert alone[0] == pytest.approx(clean.numpy()[3], abs=1e-5)


def test_a_spectrum_without_any_good_pixel_gives_finite_numbers(shipped: Bundle) -> None:
    bundle = shipped
    graphs = {name: OrtGraph(name, model, Provider.CPU, threads=1) for name, model in bundle.graphs.items()}
    n_pix = bundle.card.grid.n_pix
    norm = graphs["denoise"].put(np.ones((2, n_pix), dtype=np.float32))
    ivar = graphs["denoise"].put(
        np.stack([np.zeros(n_pix), np.full(n_pix, 1e30)]).astype(np.float32),
    )
    clean = graphs["denoise"](norm=norm, ivar=ivar)["clean"]
    tokens = graphs["features"](norm=norm, ivar=ivar, clean=clean)["tokens"]
    for name in ("classify", "regress"):
        for output in graphs[name](tokens=tokens).values():
            assert np.isfinite(output.numpy()).all()


def test_a_graph_that_is_not_the_cards_gets_no_manifest(folder: Path) -> None:
    path = folder / "classify.onnx"
    path.write_bytes(path.read_bytes() + b"\0")
    before = (folder / MANIFEST_FILE).read_bytes()
    with pytest.raises(BundleError, match=r"classify\.onnx has sha256 .*; its card says"):
        write_manifest(folder)
    assert (folder / MANIFEST_FILE).read_bytes() == before


def test_a_graph_under_another_ones_name_is_refused(folder: Path) -> None:
    def swap(card: dict[str, Any]) -> None:
        graphs = card["graphs"]
        for key in ("file", "sha256"):
            graphs["denoise"][key], graphs["features"][key] = (
                graphs["features"][key],
                graphs["denoise"][key],
            )

    edit_card(folder, swap)
    with pytest.raises(BundleError, match=r"its inputs are norm.*ivar.*clean"):
        write_manifest(folder)


def test_a_graph_that_the_card_does_not_name_is_refused(folder: Path) -> None:
    shutil.copy(folder / "regress.onnx", folder / "regress_new.onnx")
    with pytest.raises(BundleError, match=r"regress_new\.onnx is not on the card"):
        write_manifest(folder)


def test_a_missing_graph_is_named(folder: Path) -> None:
    (folder / "features.onnx").unlink()
    with pytest.raises(BundleError, match=r"features\.onnx is on the manifest but not in the folder"):
        load_bundle(folder)
    with pytest.raises(BundleError, match=r"features\.onnx is on the card but not on the manifest"):
        write_manifest(folder)


def test_a_folder_without_a_card_is_refused(folder: Path) -> None:
    (folder / CARD_FILE).unlink()
    with pytest.raises(BundleError, match=r"card\.json is missing"):
        load_bundle(folder)
    with pytest.raises(BundleError, match=r"card\.json is not on the manifest"):
        write_manifest(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda card: card.update(colour="blue"), "'colour'"),
        (lambda card: card.update(label_system="3D_NLTE"), "'label_system'"),
        (lambda card: card["parameters"].reverse(), "the parameters are"),
        (lambda card: card["subclasses"].pop(), "the subclasses are"),
        (lambda card: card["intervals"]["snr_edges"].pop(), "interval scales have shape"),
        (lambda card: card["parameters"].append(card["parameters"][0]), "the parameters are"),
        (lambda card: card["parameters"].clear(), "the parameters are"),
        (lambda card: card["graphs"].pop("denoise"), "the graphs are"),
        (lambda card: card["templates"].update(n_templates=7), "'norm' has shape"),
        (lambda card: card["templates"].update(file="../templates.npz"), "'templates.file'"),
        (lambda card: card["graphs"]["denoise"].update(file="/tmp/denoise.onnx"), "'graphs.denoise.file'"),
        (lambda card: card["graphs"]["denoise"].update(file="."), "'graphs.denoise.file'"),
        (lambda card: card["graphs"]["denoise"].update(file="a\\b.onnx"), "'graphs.denoise.file'"),
    ],
)
def test_a_card_that_contradicts_the_code_or_itself_is_refused(
    folder: Path, change: Callable[[dict[str, Any]], None], message: str
) -> None:
    edit_card(folder, change)
    with pytest.raises(BundleError, match=message):
        write_manifest(folder)


def test_the_newest_version_is_by_number_not_by_letter(tmp_path: Path) -> None:
    for version in ("1.9.0", "1.10.0", "1.2.3"):
        (tmp_path / "mid" / version).mkdir(parents=True)
        (tmp_path / "mid" / version / CARD_FILE).write_text("{}")
    assert newest_bundle(tmp_path, "mid").name == "1.10.0"
    with pytest.raises(BundleError, match=r"no bundle 'low'.*it holds mid"):
        newest_bundle(tmp_path, "low")


def test_the_threshold_is_the_cards_at_its_priors_and_lies_between_them_in_between(shipped: Bundle) -> None:
    card = shipped.card
    for row in card.thresholds:
        assert card.threshold(row.prior) == pytest.approx(row.threshold)
    low, high = card.thresholds[0], card.thresholds[1]
    middle = card.threshold((low.prior * high.prior) ** 0.5)
    assert min(low.threshold, high.threshold) <= middle <= max(low.threshold, high.threshold)


def test_the_bundles_share_the_resolutions_between_them() -> None:
    low, mid = (load_bundle(newest_bundle(BUNDLES, name)).card for name in NAMES)
    assert low.served[0] <= 100 < low.served[1] == mid.served[0] < mid.served[1]
    assert mid.unmeasured == ()
    assert low.unmeasured == ("bafe",)


def test_serving_never_imports_torch() -> None:
    code = (
        "import sys, cempstream.models.bundle, cempstream.models.sessions\n"
        "import cempstream.models.carbon_evolution\n"
        "from cempstream.models.bundle import *\n"
        "load_bundle(newest_bundle(BUNDLES, 'mid'))\n"
        "assert not {m for m in sys.modules if m.split('.')[0] in ('torch', 'onnx')}\n"
        "assert not {m for m in sys.modules if m.startswith('cempstream.models.training')}\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
