"""Imports run one way, between layers and between the rooms of a layer, and serving never imports torch."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

#: Every layer with those that it may import beside itself; ``cempstream.errors`` and ``plain`` are for all.
LAYERS = {
    "processors": ("errors", "plain"),
    "models": ("errors", "plain", "processors"),
    "schemas": ("errors", "plain", "processors"),
    "streams": ("errors", "plain", "processors", "models", "schemas"),
}

#: The rooms of ``streams``: each with the others that it may import.
STREAMS: dict[str, tuple[str, ...]] = {
    "kafka": (),
    "scoring": ("pictures",),  # a result draws itself
    "telemetry": (),
    "pictures": (),
    "observing": (),
    "archive": ("kafka",),
    "subscriber": ("kafka.places", "kafka.schema_registry", "observing"),
    "exporters": ("subscriber",),  # a TOM reads the stream
    "page": ("kafka.places", "observing", "pictures", "subscriber"),
    "worker": ("scoring", "kafka", "telemetry", "observing"),
    "stars": ("scoring", "kafka", "telemetry", "worker"),
    "operations": ("scoring", "kafka", "telemetry"),
    "rehearsal": (
        "kafka",
        "scoring",
        "telemetry",
        "pictures",
        "subscriber",
        "worker",
        "operations",
        "stars",
        "observing",
    ),
}
STREAMS["commands"] = tuple(STREAMS)

#: All rooms, by layer. The modules at the root of a layer import no room, but for those in `DOORS`.
ROOMS: dict[str, dict[str, tuple[str, ...]]] = {
    "processors": {"readers": (), "stars": ()},
    "models": {
        "emulator": (),
        "simulator": ("emulator",),
        "synthesis": ("emulator",),
        "training": ("emulator", "simulator", "synthesis"),
        "evaluation": ("emulator", "simulator", "training"),
    },
    "schemas": {},
    "streams": STREAMS,
}

#: Modules at a root through which one enters a room.
DOORS = {
    "streams/app.py": ("worker",),
    "streams/cli.py": ("telemetry", "commands"),
}

#: Modules at the root of ``streams`` that its rooms may import.
HALL = ("addresses", "began", "interrupts", "model_settings", "settings", "times", "wording")

#: Rooms of ``models`` that no worker needs: of the other layers only the commands may import them.
LABORATORY = ("training", "synthesis", "evaluation")

#: Third parties by the layers or rooms that alone may import them.
ONLY_IN: dict[str, tuple[str, ...]] = {
    "faust": ("streams/worker/",),
    "mode": ("streams/worker/",),
    "aiokafka": ("streams/worker/",),
    "confluent_kafka": tuple(
        f"streams/{room}/"
        for room in (
            "kafka",
            "archive",
            "subscriber",
            "exporters",
            "worker",
            "operations",
            "rehearsal",
            "commands",
        )
    ),
    "onnxruntime": ("models/", "streams/"),
    "torch": ("models/training/", "models/evaluation/"),
    "fastavro": (),
}

#: What a subscriber runs: it may need nothing beyond the base install.
BASE = (
    *("streams/subscriber/", "streams/kafka/places.py", "schemas/"),
    *("streams/observing/catalogue.py", "streams/observing/catalogue_files.py"),
    *("streams/observing/crossmatch.py", "streams/observing/jinabase.py", "streams/observing/known_stars.py"),
)


def base_distributions() -> set[str]:
    """Return the names under which the base install's requirements are imported."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = (re.split(r"[^\w-]", requirement)[0] for requirement in project["dependencies"])
    return {name.replace("-", "_") for name in names} | {"pydantic_core"}  # comes with pydantic


BASE_DISTRIBUTIONS = base_distributions()


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
    for name in imports(tree):
        top, *rest = name.split(".")
        if top in LAYERS:
            yield f"{path} imports {name}: a module must not exist twice, it is cempstream.{name}"
        if top in ONLY_IN and not path.startswith(ONLY_IN[top]):
            yield f"{path} imports {name}, which belongs to {' and '.join(ONLY_IN[top]) or 'tests'}"
        if top != "cempstream":
            if path.startswith(BASE) and top not in BASE_DISTRIBUTIONS | sys.stdlib_module_names:
                yield f"{path} imports {name}, which the base install does not have"
            continue
        target = rest[0]
        if target != layer and target not in LAYERS[layer]:
            yield f"{path} imports {name}: {layer} knows only {', '.join(LAYERS[layer])}"
        elif target == layer:
            yield from room_offences(path, name)
        elif target == "models" and rest[1] in LABORATORY and not path.startswith("streams/commands/"):
            yield f"{path} imports {name}: only commands open the laboratory"


def room_offences(path: str, name: str) -> Iterator[str]:
    """Yield what a module may not import of its own layer."""
    layer, *inner = path.split("/")
    rooms = ROOMS[layer]
    target, *rest = name.split(".")[2:]
    if inner[0] in rooms:
        room, allowed = inner[0], rooms[inner[0]]
    else:
        room, allowed = f"the root of {layer}", DOORS.get(path, ())
    if target == room:
        return
    if target in rooms:
        if target not in allowed and ".".join([target, *rest[:1]]) not in allowed:
            yield f"{path} imports {name}: {room} knows only {', '.join(allowed) or 'itself'}"
    elif layer == "streams" and inner[0] in rooms and target not in HALL:
        yield f"{path} imports {name}: of the root, rooms know only {', '.join(HALL)}"


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
        ("schemas/x.py", "from cempstream.models.card import Provenance"),
        ("schemas/x.py", "import confluent_kafka"),
        ("streams/x.py", "from processors.spectrum import Spectrum"),
        ("streams/kafka/x.py", "import torch"),
    ],
)
def test_an_offence_is_found(path: str, code: str) -> None:
    assert list(offences(path, ast.parse(code)))


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("processors/x.py", "from cempstream.processors.readers import read_spectra"),
        ("models/x.py", "from cempstream.models.emulator.emulator import Emulator"),
        ("models/emulator/x.py", "from cempstream.models import simulator"),
        ("models/training/x.py", "import cempstream.models.evaluation.report"),
        ("streams/scoring/x.py", "from cempstream.streams.kafka.messages import Origin"),
        ("streams/scoring/x.py", "def f():\n    from confluent_kafka import Consumer"),
        ("streams/scoring/x.py", "from cempstream.models.training.run import train"),
        ("streams/kafka/x.py", "from cempstream.streams.subscriber.start import parse_start"),
        ("streams/kafka/x.py", "from cempstream.streams import telemetry"),
        ("streams/kafka/x.py", "import faust"),
        ("streams/subscriber/x.py", "from cempstream.streams.kafka.publisher import Publisher"),
        ("streams/subscriber/x.py", "from cempstream.streams.kafka import publisher"),
        ("streams/subscriber/x.py", "import astropy.units"),
        ("streams/kafka/places.py", "import pydantic_settings"),
        ("streams/observing/known_stars.py", "def f():\n    import astropy.table"),
        ("streams/telemetry/x.py", "from cempstream.streams.worker.lag import LagMeter"),
        ("streams/operations/x.py", "import cempstream.streams.subscriber.client"),
        ("streams/pictures/x.py", "from cempstream.streams.scoring.files import classify"),
        ("streams/worker/x.py", "from cempstream.streams.operations import verify"),
        ("streams/rehearsal/x.py", "from cempstream.streams.commands.explain import explain"),
        ("streams/settings.py", "from cempstream.streams.worker.agent import create_app"),
        ("streams/worker/x.py", "from cempstream.streams.cli import main"),
    ],
)
def test_a_wrong_door_is_found(path: str, code: str) -> None:
    assert list(offences(path, ast.parse(code)))


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("processors/x.py", "from cempstream.errors import FixableError"),
        ("streams/subscriber/x.py", "from cempstream.streams.kafka.places import Place"),
        ("streams/subscriber/x.py", "from cempstream.streams.kafka import places"),
        ("streams/worker/x.py", "from cempstream.streams.settings import Settings"),
        ("streams/commands/x.py", "from cempstream.models.training.run import train"),
    ],
)
def test_an_open_door_is_open(path: str, code: str) -> None:
    assert list(offences(path, ast.parse(code))) == []


def test_every_folder_of_modules_is_a_room_that_says_what_it_is() -> None:
    for path, tree in modules():
        layer, *inner = path.split("/")
        if len(inner) > 1:
            assert inner[0] in ROOMS[layer], f"{path} lies in a room that this test does not know"
        if inner[-1] == "__init__.py":
            said = ast.get_docstring(tree)
            assert said, f"{path} does not say what lives there"
            assert "import" in said.lower(), f"{path} does not say what may be imported there"


def test_there_are_modules_of_every_layer_and_room() -> None:
    paths = [path for path, _ in modules()]
    for layer, rooms in ROOMS.items():
        assert sum(path.startswith(f"{layer}/") for path in paths) > 3
        for room in rooms:
            assert sum(path.startswith(f"{layer}/{room}/") for path in paths) > 1, f"{layer}/{room} is empty"


def test_serving_runs_without_torch() -> None:
    serving = [
        path.removesuffix(".py").replace("/", ".")
        for path, tree in modules()
        if path.startswith("streams/")
        and not path.startswith("streams/exporters/tom/")  # a TOM's environment alone has Django
        and path not in ("streams/commands/train.py", "streams/commands/synth.py")
        if not path.endswith("__init__.py")
    ]
    code = "import sys\n" + "".join(f"import cempstream.{name}\n" for name in serving)
    code += "print([name for name in sys.modules if name.partition('.')[0] == 'torch'])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=110)
    assert run.returncode == 0, run.stderr
    assert run.stdout == "[]\n"
