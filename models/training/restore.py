"""Networks from a bundle's ONNX files, to go on from a bundle whose checkpoints are gone."""

from __future__ import annotations

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor

from cempstream.models.bundle import Bundle
from cempstream.models.card import GRAPHS
from cempstream.models.training.networks import Networks, Shape


def restore_networks(bundle: Bundle, shape: Shape) -> Networks:
    """Return networks with the weights of a bundle's graphs; the fusing one, if it has none, as it begins.

    Raises
    ------
    ValueError
        A graph lacks a weight of the network, or has it in another shape: another code made it.
    """
    networks = Networks(shape)
    for name in GRAPHS:
        module = getattr(networks, name)
        weights = _weights(onnx.load_from_string(bundle.graphs[name]))
        state = {}
        for key, own in module.state_dict().items():
            if key not in weights or weights[key].shape != own.shape:
                found = tuple(weights[key].shape) if key in weights else "none"
                raise ValueError(f"{bundle.name}: '{name}.{key}' is {found}; it must be {tuple(own.shape)}")
            state[key] = weights[key]
        module.load_state_dict(state)
    return networks.eval()


def _weights(model: onnx.ModelProto) -> dict[str, Tensor]:
    """Return the weights of a graph by their names in torch.

    The exporter keeps all names but those of linear layers on three axes, whose weights it transposes: such a
    weight has the name of the bias that is added to its product.
    """
    arrays = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    product = {
        node.output[0]: node.input[1]
        for node in model.graph.node
        if node.op_type == "MatMul" and node.input[1] in arrays
    }
    named = dict(arrays)
    for node in model.graph.node:
        if node.op_type != "Add":
            continue
        for bias, value in (tuple(node.input), tuple(node.input)[::-1]):
            if bias.endswith(".bias") and value in product:
                named[bias.removesuffix("bias") + "weight"] = arrays[product[value]].T
    return {name: torch.from_numpy(np.array(array)) for name, array in named.items()}
