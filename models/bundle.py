"""Read a model bundle from its folder; only what its manifest and its card describe is served."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from cempstream.models.card import ArrayCard, Card
from cempstream.models.manifest import (
    MANIFEST_FILE,
    BundleFiles,
    describe_files,
    read_files,
)
from cempstream.models.manifest import (
    BundleError as BundleError,  # its users import it from here
)
from cempstream.models.signature import Keys
from cempstream.processors.grid import Array

CARD_FILE = "card.json"

#: Bundles that come with the package.
BUNDLES = Path(__file__).parent / "bundles"


@dataclass(frozen=True, slots=True, eq=False)
class TemplateBank:
    """The templates of a bundle.

    Attributes
    ----------
    norm
        Normalised, noise-free, rest frame, float32, shape ``(n_templates, n_pix)``.
    labels
        Teff (K), log g, [Fe/H], [C/Fe], float32, shape ``(n_templates, 4)``; NaN where undefined.
    velocity
        Rows used for cross-correlation.
    """

    norm: Array = field(repr=False)
    labels: Array = field(repr=False)
    velocity: Array = field(repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class Bundle:
    """A bundle whose files match its card and its manifest.

    Attributes
    ----------
    sha256
        Of its manifest: it stands for every file, the card and the templates included.
    graphs
        The bytes of each ONNX file by the graph's name, so that the hashed bytes are the ones that run.
    """

    folder: Path
    card: Card
    sha256: str
    graphs: Mapping[str, bytes] = field(repr=False)
    templates: TemplateBank = field(repr=False)

    @property
    def name(self) -> str:
        """Name and version, as in every result."""
        return f"{self.card.name}-{self.card.version}"


def require_models(folder: Path) -> None:
    """Check that a folder of the shipped models is there; a release has them in a separate distribution.

    Raises
    ------
    BundleError
        The worker's extra is not installed; the message says how to install it.
    """
    if not folder.is_dir():
        needed = f"cempstream-models=={version('cempstream')}"
        raise BundleError(f"there are no models in {folder}: pip install {needed}")


def load_bundle(folder: Path, keys: Keys | None = None) -> Bundle:
    """Read a bundle, and check it against its manifest and its card.

    Parameters
    ----------
    keys
        Who may have signed it; None where a signature is not asked for.

    Raises
    ------
    BundleError
        The card is missing or wrong; a file is missing, differs from the manifest or the card, or is on
        neither; a graph has other inputs or outputs; or no trusted key has signed the manifest.
    """
    if not (folder / CARD_FILE).is_file():
        raise BundleError(f"{folder / CARD_FILE} is missing; a bundle is a folder with a card")
    return _bundle_of(read_files(folder, keys))


def write_manifest(folder: Path) -> Bundle:
    """Write the manifest of a bundle as it is now, if its files are those of its card.

    Raises
    ------
    BundleError
        They are not; no manifest is then written.
    """
    content, files = describe_files(folder)
    bundle = _bundle_of(files)
    # As a whole, and under a name that loading does not look at.
    new = folder / f".{MANIFEST_FILE}.new"
    new.write_bytes(content)
    new.replace(folder / MANIFEST_FILE)
    return bundle


def _bundle_of(files: BundleFiles) -> Bundle:
    folder = files.folder
    card = _read_card(files)
    graphs = {name: _content(files, graph.file, graph.sha256) for name, graph in card.graphs.items()}
    known = {graph.file for graph in card.graphs.values()}
    for name in sorted(files.contents):
        if name.endswith(".onnx") and name not in known:
            raise BundleError(f"{folder / name} is not on the card; it names {', '.join(sorted(known))}")
    templates = _read_templates(files, card)
    for name, model in graphs.items():
        _check_graph(folder / card.graphs[name].file, model, card, name)
    return Bundle(folder, card, files.sha256, graphs, templates)


def newest_bundle(root: Path, name: str) -> Path:
    """Return the folder of the highest version of a bundle.

    Raises
    ------
    BundleError
        Where there is none.
    """
    versions = [path.parent for path in (root / name).glob(f"*/{CARD_FILE}")]
    if not versions:
        if root == BUNDLES:
            require_models(BUNDLES)
        here = sorted(path.parent.parent.name for path in root.glob(f"*/*/{CARD_FILE}"))
        raise BundleError(f"there is no bundle '{name}' in {root}; it holds {', '.join(here) or 'none'}")
    return max(versions, key=lambda path: [int(part) for part in path.name.split(".")])


def _read_card(files: BundleFiles) -> Card:
    path = files.folder / CARD_FILE
    if CARD_FILE not in files.contents:
        raise BundleError(f"{path} is not on the manifest; a bundle is a folder with a card")
    try:
        return Card.model_validate_json(files.contents[CARD_FILE])
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "card"
        raise BundleError(f"{path}: '{where}': {first['msg']}") from error


def _content(files: BundleFiles, name: str, expected: str) -> bytes:
    """Return a file that the card names, if it is the one that the card describes."""
    path = files.folder / name
    if name not in files.contents:
        raise BundleError(f"{path} is on the card but not on the manifest")
    if files.digests[name] != expected:
        raise BundleError(f"{path} has sha256 {files.digests[name][:12]}…; its card says {expected[:12]}…")
    return files.contents[name]


def _read_templates(files: BundleFiles, card: Card) -> TemplateBank:
    path = files.folder / card.templates.file
    content = _content(files, card.templates.file, card.templates.sha256)
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        missing = {"norm", "labels", "velocity"} - set(arrays.files)
        if missing:
            raise BundleError(f"{path} lacks {', '.join(sorted(missing))}")
        bank = TemplateBank(
            norm=arrays["norm"].astype(np.float32), labels=arrays["labels"], velocity=arrays["velocity"]
        )
    n = card.templates.n_templates
    shapes = {
        "norm": (bank.norm.shape, (n, card.grid.n_pix)),
        "labels": (bank.labels.shape, (n, 4)),
        "velocity": (bank.velocity.shape, (card.templates.n_velocity,)),
    }
    for name, (found, expected) in shapes.items():
        if found != expected:
            raise BundleError(f"{path}: '{name}' has shape {found}; its card says {expected}")
    return bank


def _check_graph(path: Path, model: bytes, card: Card, name: str) -> None:
    """Compare a graph's inputs and outputs with the card's; named axes are dynamic."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    graph = card.graphs[name]
    for what, nodes, arrays in (
        ("inputs", session.get_inputs(), graph.inputs),
        ("outputs", session.get_outputs(), graph.outputs),
    ):
        found = tuple(_array_card(node.name, node.shape, node.type) for node in nodes)
        if found != arrays:
            raise BundleError(f"{path}: its {what} are {_say(found)}; its card says {_say(arrays)}")


def _array_card(name: str, shape: list[int | str | None], kind: str) -> ArrayCard | None:
    if kind != "tensor(float)":
        return None
    return ArrayCard(name=name, shape=tuple("?" if size is None else size for size in shape))


def _say(arrays: tuple[ArrayCard | None, ...]) -> str:
    return ", ".join("not float32" if a is None else f"{a.name}{list(a.shape)}" for a in arrays)
