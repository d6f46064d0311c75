"""What serves never unpickles nor evaluates what it reads, and listens on loopback unless told otherwise."""

from __future__ import annotations

import ast
import ipaddress
from collections.abc import Iterator
from pathlib import Path

import pytest

from cempstream.streams.settings import KafkaSettings, MetricsSettings, Settings

ROOT = Path(__file__).resolve().parents[2]
LAYERS = ("processors", "models", "schemas", "streams")

#: Makes bundles and never reads what a stranger wrote.
TRAINING = ("models/training", "models/synthesis", "models/evaluation")

#: Modules that run what a file says.
UNSAFE_MODULES = frozenset(
    {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "jsonpickle"}
)
UNSAFE_NAMES = frozenset({"eval", "exec", "compile", "__import__"})
UNSAFE_ATTRIBUTES = frozenset({"read_pickle", "unsafe_load", "full_load"})


def modules(*, training: bool) -> Iterator[tuple[str, ast.Module]]:
    for layer in LAYERS:
        for path in sorted((ROOT / layer).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            if training or not name.startswith(TRAINING):
                yield name, ast.parse(path.read_text(encoding="utf-8"))


def unsafe(tree: ast.AST, *, strict: bool) -> Iterator[str]:
    """Yield what could run what a file says; `strict`: also loading without saying that it may not."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name.partition(".")[0] in UNSAFE_MODULES)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in UNSAFE_MODULES:
            yield str(node.module)
        elif isinstance(node, ast.keyword) and node.arg == "allow_pickle" and not _is(node.value, False):
            yield "allow_pickle"
        elif isinstance(node, ast.keyword) and node.arg == "weights_only" and not _is(node.value, True):
            yield "weights_only"
        elif isinstance(node, ast.Call):
            yield from _unsafe_call(node, strict=strict)


def _unsafe_call(node: ast.Call, *, strict: bool) -> Iterator[str]:
    name = ast.unparse(node.func)
    given = {keyword.arg for keyword in node.keywords}
    is_unchecked = name == "torch.load" and "weights_only" not in given
    if name in UNSAFE_NAMES or name.rpartition(".")[2] in UNSAFE_ATTRIBUTES or is_unchecked:
        yield name
    elif name in ("np.load", "numpy.load") and strict and "allow_pickle" not in given:
        yield f"{name} without allow_pickle=False"


def _is(node: ast.expr, value: bool) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


def test_nothing_that_serves_runs_what_it_reads() -> None:
    found = {name: list(unsafe(tree, strict=True)) for name, tree in modules(training=False)}
    assert {name: problems for name, problems in found.items() if problems} == {}
    assert len(found) > 100


def test_training_unpickles_nothing_either() -> None:
    found = {name: list(unsafe(tree, strict=False)) for name, tree in modules(training=True)}
    assert {name: problems for name, problems in found.items() if problems} == {}


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from joblib import load",
        "import numpy as np\nnp.load(path)",
        "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=may)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "eval(text)",
        "pd.read_pickle(path)",
    ],
)
def test_the_search_finds_what_it_looks_for(line: str) -> None:
    assert list(unsafe(ast.parse(line), strict=True))


def test_the_linter_forbids_unpickling() -> None:
    import tomllib

    lint = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["ruff"]["lint"]
    assert "S301" in lint["select"] or "S" in lint["select"]
    assert "S301" not in lint["ignore"]


def test_every_address_is_loopback_unless_set() -> None:
    assert ipaddress.ip_address(MetricsSettings().host).is_loopback
    assert KafkaSettings().bootstrap.startswith("127.0.0.1:")
    assert Settings(metrics={"host": "0.0.0.0"}).metrics.host == "0.0.0.0"  # type: ignore[arg-type]


def test_no_default_of_ours_listens_everywhere() -> None:
    """No text in what serves names the address of all interfaces; `deploy/` may set it."""
    for name, tree in modules(training=True):
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert node.value not in ("0.0.0.0", "::", "[::]"), name


def test_a_secret_is_not_in_what_settings_print() -> None:
    kafka = KafkaSettings(username="worker", password="do-not-tell-8d1f")  # type: ignore[arg-type]
    for text in (repr(kafka), str(kafka), str(kafka.model_dump()), kafka.model_dump_json()):
        assert "do-not-tell-8d1f" not in text
    assert kafka.secret() == "do-not-tell-8d1f"
