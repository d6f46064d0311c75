"""Graphs that compute what a test says, in place of networks."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from cempstream.processors.graph import Tensor
from cempstream.processors.grid import Array


class Host:
    """An array that is where it is."""

    def __init__(self, array: Array) -> None:
        self.array = array

    def numpy(self) -> Array:
        """Return the array."""
        return self.array


class Formula:
    """A graph that computes its outputs by a function of its inputs."""

    def __init__(self, function: Callable[[dict[str, Array]], dict[str, Array]]) -> None:
        self.function = function

    def put(self, array: Array) -> Host:
        """Keep the array."""
        return Host(array)

    def __call__(self, **inputs: Tensor) -> Mapping[str, Tensor]:
        """Compute."""
        arrays = {name: tensor.numpy() for name, tensor in inputs.items()}
        return {name: Host(array) for name, array in self.function(arrays).items()}
