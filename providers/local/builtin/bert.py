"""From the graph of a quantised BERT classifier, as ONNX Runtime exports it, to the tensors that transformers names.

ONNX Runtime's dynamic quantisation replaces each weight `w` by `w_quantized`, `w_scale` and `w_zero_point`. Linear
layers are stored as (inputs, outputs), the transpose of what torch has, and most have lost their names to the
exporter (`onnx::MatMul_1662`). Such a layer is known by its bias, which kept its name and is added to what comes out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from providers.local.builtin.onnx_file import Graph, Node
from providers.local.builtin.quantized import SCALE, ZERO_POINT, Array

QUANTIZED = "_quantized"
BIAS, WEIGHT = ".bias", ".weight"

ON_THE_WAY = {"Cast", "Mul", "Add"}
"""Operations between a product of integers and the addition of the bias."""

MAX_STEPS = 6
"""Operations after a product among which its bias is looked for."""


def tensors_of(graph: Graph) -> dict[str, Array]:
    """The weights by transformers' names; integers with scales as in `quantized`. Raises ValueError for other graphs.

    A linear layer has the shape (outputs, inputs).
    """
    plain = {name: value for name, value in graph.tensors.items() if name.endswith((BIAS, WEIGHT))}
    tensors = dict(plain)
    for name, quantized in [*_tables(graph), *_linear_layers(graph)]:
        if name in tensors:
            raise ValueError(f'the ONNX file has two tensors for "{name}"')
        tensors |= _stored(name, quantized, graph)
    if len(tensors) == len(plain):
        raise ValueError("the ONNX file holds no quantised weights")
    return tensors


def config_of(tensors: Mapping[str, Array], heads: int) -> dict[str, Any]:
    """The content of config.json, read off the shapes. Raises ValueError if they are not those of a BERT classifier.

    Args:
        heads: attention heads of a layer, which no shape tells.
    """
    try:
        words = tensors["bert.embeddings.word_embeddings.weight"].shape
        positions = tensors["bert.embeddings.position_embeddings.weight"].shape
        types = tensors["bert.embeddings.token_type_embeddings.weight"].shape
        inner = tensors["bert.encoder.layer.0.intermediate.dense.weight"].shape
        labels = tensors["classifier.bias"].shape[0]
    except KeyError as error:
        raise ValueError(f"the ONNX file is not that of a BERT classifier: it has no {error}") from None
    layers = {name.split(".")[3] for name in tensors if name.startswith("bert.encoder.layer.")}
    return {
        "architectures": ["BertForSequenceClassification"],
        "hidden_act": "gelu",
        "hidden_size": words[1],
        "id2label": {str(label): f"LABEL_{label}" for label in range(labels)},
        "intermediate_size": inner[0],
        "label2id": {f"LABEL_{label}": label for label in range(labels)},
        "layer_norm_eps": 1e-12,
        "max_position_embeddings": positions[0],
        "model_type": "bert",
        "num_attention_heads": heads,
        "num_hidden_layers": len(layers),
        "pad_token_id": 0,
        # A score is the logit, as the model's card has it.
        "sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity"},
        "type_vocab_size": types[0],
        "vocab_size": words[0],
    }


def _tables(graph: Graph) -> Iterator[tuple[str, str]]:
    """Each embedding table: its name, and that of its integers. They are (rows, dimensions) on both sides."""
    for name in graph.tensors:
        if name.endswith(WEIGHT + QUANTIZED) and "embeddings" in name:
            yield name.removesuffix(QUANTIZED), name


def _linear_layers(graph: Graph) -> Iterator[tuple[str, str]]:
    """The weight of each linear layer: its name, and that of its integers."""
    users: dict[str, list[Node]] = {}
    for node in graph.nodes:
        for name in node.inputs:
            users.setdefault(name, []).append(node)
    for node in graph.nodes:
        if node.operation == "MatMulInteger" and len(node.inputs) > 1 and node.inputs[1] in graph.tensors:
            weight = node.inputs[1]
            named = weight.removesuffix(QUANTIZED)
            yield (named if named.endswith(WEIGHT) else _name_by_bias(node.outputs, users, graph)), weight


def _name_by_bias(outputs: Sequence[str], users: Mapping[str, list[Node]], graph: Graph) -> str:
    """The name of the weight whose product is `outputs`: that of the first bias which is added to it."""
    reached = list(outputs)
    for _ in range(MAX_STEPS):
        following = [node for name in reached for node in users.get(name, []) if node.operation in ON_THE_WAY]
        biases = (name for node in following if node.operation == "Add" for name in node.inputs)
        bias = next((name for name in biases if name.endswith(BIAS) and name in graph.tensors), None)
        if bias is not None:
            return bias.removesuffix(BIAS) + WEIGHT
        reached = [name for node in following for name in node.outputs]
    raise ValueError(f"no bias is added to {', '.join(outputs)} of the ONNX file, so the layer has no name")


def _stored(name: str, quantized: str, graph: Graph) -> dict[str, Array]:
    """The integers under the tensor's name, with what belongs to them."""
    stem = quantized.removesuffix(QUANTIZED)
    scale, zero_point = graph.tensors.get(stem + "_scale"), graph.tensors.get(stem + "_zero_point")
    if scale is None or zero_point is None or scale.size != 1 or zero_point.size != 1:
        raise ValueError(f'the tensor "{quantized}" of the ONNX file has no single scale and zero point')
    integers = graph.tensors[quantized]
    if "embeddings" not in name:
        integers = np.ascontiguousarray(integers.T)
    tensors = {name: integers, name + SCALE: scale.reshape(())}
    return tensors | ({name + ZERO_POINT: zero_point.reshape(())} if int(zero_point.item()) else {})
