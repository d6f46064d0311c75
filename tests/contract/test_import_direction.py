"""Imports run one way, processors ← models ← schemas ← streams, and serving never imports torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

#: Each may import those before it, and itself.
LAYERS = ("processors", "models", "schemas", "streams")

#: Third parties by the layers (or folders within) that alone may import them at the top of a module.
ONLY_IN = {
    "faust": ("streams",),
    "mode": ("streams",),
    "confluent_kafka": ("streams",),
    "aiokafka": ("streams",),
    "onnxruntime": ("models", "streams"),
    "fastavro": (),
}

#: The folders of `models` that belong to training; nothing else may import torch, nor them.
TRAINING = ("models/training", "models/synthesis", "models/evaluation", "models/emulator")


def modules() -> Iterator[tuple[str, ast.Module]]:
    """Yield every module of ours with its path from the root."""
    for layer in LAYERS:
        for path in sorted((ROOT / layer).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def imports(tree: ast.AST) -> Iterator[str]:
    """Yield the full name of everything that a module imports, at its top or within."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports would hide where a module is from"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def offences(path: str, tree: ast.AST) -> Iterator[str]:
    """Yield what a module may not import."""
    layer = path.split("/")[0]
    allowed = LAYERS[: LAYERS.index(layer) + 1]
    for name in imports(tree):
        top, _, rest = name.partition(".")
        inner = rest.partition(".")[0]
        if top == "cempstream" and inner not in (*allowed, "errors"):  # every layer raises them
            yield f"{path} imports {name}: {layer} knows only {', '.join(allowed)}"
        if top in LAYERS:
            yield f"{path} imports {name}: a module must not exist twice, it is cempstream.{name}"
        if top in ONLY_IN and not path.startswith(ONLY_IN[top]):
            yield f"{path} imports {name}, which belongs to {' and '.join(ONLY_IN[top]) or 'tests'}"


def test_imports_run_one_way() -> None:
    found = [offence for path, tree in modules() for offence in offences(path, tree)]
    assert found == []


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("processors/x.py", "from cempstream.schemas.codec import decode_spectrum"),
        ("processors/x.py", "import cempstream.models.sessions"),
        ("processors/x.py", "def f():\n    import onnxruntime"),
        ("models/x.py", "from cempstream.schemas import registry"),
        ("models/x.py", "from cempstream import streams"),
        ("schemas/x.py", "from cempstream.streams.subscriber.client import AlertStream"),
        ("schemas/x.py", "import confluent_kafka"),
        ("streams/x.py", "from processors.spectrum import Spectrum"),
    ],
)
def test_an_offence_is_found(path: str, code: str) -> None:
    assert list(offences(path, ast.parse(code)))


def test_there_are_modules_of_every_layer() -> None:
    paths = [path for path, _ in modules()]
    for layer in LAYERS:
        assert sum(path.startswith(layer) for path in paths) > 3


def test_only_training_imports_torch() -> None:
    for path, tree in modules():
        if not path.startswith(TRAINING):
            assert not any(name.partition(".")[0] == "torch" for name in imports(tree)), path


def test_serving_runs_without_torch() -> None:
    serving = [
        path.removesuffix(".py").replace("/", ".")
        for path, tree in modules()
        if path.startswith("streams/")
        and path not in ("streams/commands/train.py", "streams/commands/synth.py")
        if not path.endswith("__init__.py")
    ]
    code = "import sys\n" + "".join(f"import cempstream.{name}\n" for name in serving)
    code += "print([name for name in sys.modules if name.partition('.')[0] == 'torch'])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=110)
    assert run.returncode == 0, run.stderr
    assert run.stdout == "[]\n"
