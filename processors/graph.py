"""The interface of a model to a processor: named arrays in, named arrays out.

Processors never import a model runtime. They are handed a ``Graph``; its outputs may live on a device and
go into the next graph without being copied to the host.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from cempstream.processors.grid import Array


class ModelError(RuntimeError):
    """A model failed on a batch; the caller finds out on which row."""


class Tensor(Protocol):
    """An array that may live on a device."""

    def numpy(self) -> Array:
        """Bring the array to the host."""
        ...


class Graph(Protocol):
    """A network with named inputs and outputs; row i of an output belongs to row i of the inputs."""

    def put(self, array: Array) -> Tensor:
        """Bring an array to the device on which the graph runs."""
        ...

    def __call__(self, **inputs: Tensor) -> Mapping[str, Tensor]:
        """Run the graph; raises ``ModelError`` where it fails."""
        ...
