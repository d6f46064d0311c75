"""ONNX Runtime sessions on exactly the execution provider that was asked for, or an error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum

import numpy as np
import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from cempstream.errors import FixableError
from cempstream.processors.graph import ModelError, Tensor
from cempstream.processors.grid import Array

# Where another program loaded the runtime first, its setting came too late for it.
ort.disable_telemetry_events()

#: What ONNX Runtime raises: its exceptions have no common base but Exception.
_ORT_ERRORS: tuple[type[Exception], ...] = (
    RuntimeError,
    ValueError,
    *(e for e in vars(ort_errors).values() if isinstance(e, type) and issubclass(e, Exception)),
)


class Provider(StrEnum):
    """Where the networks run."""

    CPU = "cpu"
    CUDA = "cuda"
    TENSORRT = "tensorrt"


_ORT_NAME = {
    Provider.CPU: "CPUExecutionProvider",
    Provider.CUDA: "CUDAExecutionProvider",
    Provider.TENSORRT: "TensorrtExecutionProvider",
}

_PROVIDER = {ort_name: provider for provider, ort_name in _ORT_NAME.items()}

_GPU_REMEDY = "install cempstream[gpu] in place of cempstream[cpu], with an NVIDIA driver and "
_REMEDY = {
    Provider.CPU: "install cempstream[cpu]",
    Provider.CUDA: _GPU_REMEDY + "the CUDA and cuDNN libraries on the library path",
    Provider.TENSORRT: _GPU_REMEDY + "the CUDA and TensorRT libraries on the library path",
}


class ProviderUnavailable(FixableError, RuntimeError):
    """The execution provider asked for does not run here; a silent fallback would be too slow."""

    def __init__(self, provider: Provider, why: str) -> None:
        super().__init__(f"execution provider '{provider}' is not available: {why}; {_REMEDY[provider]}")
        self.provider = provider


class OrtTensor:
    """An array held by ONNX Runtime, on its device."""

    __slots__ = ("value",)

    def __init__(self, value: ort.OrtValue) -> None:
        self.value = value

    def numpy(self) -> Array:
        """Bring the array to the host."""
        return np.asarray(self.value.numpy())


class OrtGraph:
    """One ONNX graph on one execution provider.

    Parameters
    ----------
    model
        The file's bytes, so that the hashed bytes are the ones that run.
    threads
        Intra-operator threads; 0 lets the runtime choose.

    Attributes
    ----------
    provider
        The provider on which the session runs.

    Raises
    ------
    ProviderUnavailable
        The session does not run on the provider that was asked for.
    """

    def __init__(self, name: str, model: bytes, provider: Provider, *, threads: int = 0) -> None:
        self.name = name
        self._device = "cpu" if provider is Provider.CPU else "cuda"
        self.session = _open(model, provider, threads)
        self.provider = _PROVIDER[self.session.get_providers()[0]]
        self.inputs = tuple(node.name for node in self.session.get_inputs())
        self.outputs = tuple(node.name for node in self.session.get_outputs())

    def put(self, array: Array) -> OrtTensor:
        """Bring an array to the device."""
        array = np.ascontiguousarray(array)
        return OrtTensor(ort.OrtValue.ortvalue_from_numpy(array, self._device, 0))

    def __call__(self, **inputs: Tensor) -> Mapping[str, Tensor]:
        """Run the graph; its outputs stay on the device. A failed run raises ``ModelError``."""
        binding = self.session.io_binding()
        for name, tensor in inputs.items():
            if not isinstance(tensor, OrtTensor):
                raise TypeError(f"input '{name}' is a {type(tensor).__name__}; `put` it on the device first")
            binding.bind_ortvalue_input(name, tensor.value)
        for name in self.outputs:
            binding.bind_output(name, self._device)
        try:
            self.session.run_with_iobinding(binding)
        except _ORT_ERRORS as error:
            raise ModelError(f"graph '{self.name}': {str(error).splitlines()[0]}") from error
        return dict(zip(self.outputs, map(OrtTensor, binding.get_outputs()), strict=True))


def _open(model: bytes, provider: Provider, threads: int) -> ort.InferenceSession:
    name = _ORT_NAME[provider]
    if name not in ort.get_available_providers():
        raise ProviderUnavailable(provider, "the installed ONNX Runtime was built without it")
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Errors come as exceptions; a provider that fails to load is reported below, once.
    options.log_severity_level = 3
    # Threads that spin between batches would take the cores from decoding and the broker.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = ort.InferenceSession(model, options, providers=_provider_options(provider))
    except _ORT_ERRORS as error:
        if provider is Provider.CPU:
            raise
        raise ProviderUnavailable(provider, str(error).splitlines()[0]) from error
    session.disable_fallback()
    # A runtime that cannot load CUDA still lists it and runs on the CPU: check the session's own providers.
    if session.get_providers()[0] != name:
        raise ProviderUnavailable(provider, f"the session runs on {session.get_providers()[0]}")
    return session


def _provider_options(provider: Provider) -> Sequence[str | tuple[str, dict[str, str]]]:
    if provider is Provider.CPU:
        return [_ORT_NAME[provider]]
    cuda = (_ORT_NAME[Provider.CUDA], {"arena_extend_strategy": "kSameAsRequested"})
    return [_ORT_NAME[provider], cuda] if provider is Provider.TENSORRT else [cuda]
