"""The language models of `generate.py`, written by hand as stateful OpenVINO graphs.

Inputs: input_ids and position_ids [batch, new] i64, attention_mask [batch, past + new] i64, and
beam_idx [batch] i32. Output: logits [batch, 1, vocabulary] of the last position. Keys and values
are state of the infer request, in the form that the CPU plugin takes into its attention kernel.
openvino_genai reads such a graph.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
import openvino
from language_models import NETWORKS, Sizes
from openvino import Model, Type, opset6
from openvino import opset15 as op


def ints(*values: int):
    return op.constant(np.array(values, np.int64))


def floats(array):
    return op.constant(np.ascontiguousarray(array, np.float32))


class _Decoder:
    """The nodes that both kinds of networks are made of."""

    def __init__(self, sizes: Sizes, weights: Callable[[str], np.ndarray]):
        self.sizes, self.weights, self.sinks = sizes, weights, []
        self.axis = op.constant(0)
        self.inputs = {
            "input_ids": op.parameter([-1, -1], Type.i64),
            "attention_mask": op.parameter([-1, -1], Type.i64),
            "position_ids": op.parameter([-1, -1], Type.i64),
            "beam_idx": op.parameter([-1], Type.i32),
        }
        for name, node in self.inputs.items():
            node.output(0).set_names({name})

    def linear(self, x, name: str, inputs: int, outputs: int):
        kernel = self.weights(f"{name}/kernel").reshape(inputs, outputs)
        y = op.matmul(x, floats(kernel.T), False, True)
        if not self.sizes.gpt2:
            return y
        return op.add(y, floats(self.weights(f"{name}/bias").reshape(1, 1, outputs)))

    def norm(self, x, name: str):
        if self.sizes.gpt2:
            centred = op.mvn(x, ints(-1), True, self.sizes.epsilon, "INSIDE_SQRT")
            scaled = op.multiply(centred, floats(self.weights(f"{name}/gamma")))
            return op.add(scaled, floats(self.weights(f"{name}/beta")))
        mean = op.reduce_mean(op.power(x, floats(2.0)), ints(-1), True)
        root = op.sqrt(op.add(mean, floats(self.sizes.epsilon)))
        normalized = op.multiply(x, op.divide(floats(1.0), root))
        return op.multiply(normalized, floats(self.weights(f"{name}/scale")))

    def heads(self, x, count: int):
        split = op.reshape(x, ints(0, 0, count, self.sizes.size), True)
        return op.transpose(split, ints(0, 2, 1, 3))

    def angles(self, positions):
        size = self.sizes.size
        inverse = self.sizes.wavelength ** -(np.arange(0, size, 2) / size)
        places = op.convert(op.unsqueeze(positions, ints(-1)), "f32")
        angle = op.multiply(places, floats(inverse.reshape(1, 1, -1)))
        angle = op.unsqueeze(op.concat([angle, angle], -1), ints(1))
        return op.cos(angle), op.sin(angle)

    def rotated(self, x, angles):
        cos, sin = angles
        half = self.sizes.size // 2
        first = op.slice(x, ints(0), ints(half), ints(1), ints(3))
        second = op.slice(x, ints(half), ints(2 * half), ints(1), ints(3))
        turned = op.concat([op.multiply(second, floats([[[[-1.0]]]])), first], -1)
        return op.add(op.multiply(x, cos), op.multiply(turned, sin))

    def bias(self):
        mask, positions = self.inputs["attention_mask"], self.inputs["position_ids"]
        total = op.squeeze(op.gather(op.shape_of(mask), ints(1), self.axis), ints(0))
        zero, one = (op.constant(np.int64(n)) for n in (0, 1))
        keys = op.unsqueeze(op.range(zero, total, one, "i64"), ints(0, 1, 2))
        causal = op.less_equal(keys, op.unsqueeze(positions, ints(1, 3)))
        given = op.unsqueeze(op.convert(mask, "boolean"), ints(1, 2))
        return op.select(op.logical_and(causal, given), floats(0.0), floats(-3.4e38))

    def kept(self, new, name: str):
        """All keys or values so far, each head as often as there are queries for it."""
        sizes = self.sizes
        batch = op.gather(op.shape_of(self.inputs["input_ids"]), ints(0), self.axis)
        empty = op.concat([batch, ints(sizes.kept_heads, 0, sizes.size)], 0)
        shape = openvino.PartialShape([-1, sizes.kept_heads, -1, sizes.size])
        past = opset6.read_value(op.broadcast(floats(0.0), empty), name, Type.f32, shape)
        whole = op.concat([op.gather(past, self.inputs["beam_idx"], self.axis), new], 2)
        self.sinks.append(opset6.assign(whole, name))
        group = sizes.heads // sizes.kept_heads
        if group == 1:
            return whole
        repeated = op.multiply(op.unsqueeze(whole, ints(2)), floats(np.ones((1, 1, group, 1, 1))))
        return op.reshape(repeated, ints(0, sizes.heads, -1, sizes.size), True)

    def attention(self, h, layer: str, bias, angles):
        sizes, name = self.sizes, f"{layer}/self_attention"
        width, wide, narrow = sizes.width, sizes.heads * sizes.size, sizes.kept_heads * sizes.size
        q = self.heads(self.linear(h, f"{name}/query", width, wide), sizes.heads)
        k = self.heads(self.linear(h, f"{name}/key", width, narrow), sizes.kept_heads)
        v = self.heads(self.linear(h, f"{name}/value", width, narrow), sizes.kept_heads)
        if angles is not None:
            q = self.rotated(self.norm(q, f"{name}/query_dense_layernorm"), angles)
            k = self.rotated(self.norm(k, f"{name}/key_dense_layernorm"), angles)
        k, v = self.kept(k, f"{layer}.key"), self.kept(v, f"{layer}.value")
        result = op.scaled_dot_product_attention(q, k, v, bias, causal=False)
        merged = op.reshape(op.transpose(result, ints(0, 2, 1, 3)), ints(0, 0, wide), True)
        return self.linear(merged, f"{name}/attention_output", wide, width)

    def feedforward(self, h, layer: str):
        width, inner = self.sizes.width, self.sizes.inner
        y = self.linear(h, f"{layer}/feedforward_intermediate_dense", width, inner)
        if self.sizes.gpt2:
            y = op.gelu(y, "tanh")
        else:
            gate = self.linear(h, f"{layer}/feedforward_gate_dense", width, inner)
            y = op.multiply(op.swish(gate), y)
        return self.linear(y, f"{layer}/feedforward_output_dense", inner, width)


def build(network: str, weights: Callable[[str], np.ndarray]) -> Model:
    """The graph of a network; `weights(path)` gives the array of KerasHub's variable."""
    sizes = NETWORKS[network]
    made = _Decoder(sizes, weights)
    positions, layer_norm = (
        made.inputs["position_ids"],
        "_layer_norm" if sizes.gpt2 else "_layernorm",
    )
    table = floats(weights("token_embedding/embeddings"))
    x = op.gather(table, made.inputs["input_ids"], made.axis)
    angles = None if sizes.gpt2 else made.angles(positions)
    if sizes.gpt2:
        places = floats(weights("position_embedding/embeddings"))
        x = op.add(x, op.gather(places, positions, made.axis))
    bias = made.bias()
    for number in range(sizes.layers):
        layer = f"transformer_layer_{number}"
        h = made.norm(x, f"{layer}/self_attention{layer_norm}")
        x = op.add(x, made.attention(h, layer, bias, angles))
        x = op.add(x, made.feedforward(made.norm(x, f"{layer}/feedforward{layer_norm}"), layer))
    x = made.norm(x, "layer_norm" if sizes.gpt2 else "sequence_output_layernorm")
    last = op.slice(x, ints(-1), ints(2**31 - 1), ints(1), ints(1))
    logits = op.matmul(last, table, False, True)
    logits.output(0).set_names({"logits"})
    # sinks go into the constructor: added afterwards, the state stays unbound
    return Model([op.result(logits)], made.sinks, list(made.inputs.values()), network)


def generate(request, prompt: Sequence[int], new: int) -> tuple[list[int], float]:
    """Greedy tokens after a prompt, and the seconds that they took."""
    start = time.perf_counter()
    request.reset_state()
    total, found = len(prompt), []
    ids, positions = np.array([prompt], np.int64), np.arange(total, dtype=np.int64)[None]
    mask = np.ones((1, total + new), np.int64)
    for _ in range(new):
        arrays = {
            "input_ids": ids, "attention_mask": np.ascontiguousarray(mask[:, :total]),
            "position_ids": positions, "beam_idx": np.zeros(1, np.int32),
        }  # fmt: skip
        for name, array in arrays.items():
            request.set_tensor(name, openvino.Tensor(array))
        request.infer(share_outputs=True)
        found.append(int(request.get_output_tensor(0).data[0, -1].argmax()))
        ids, positions, total = np.array([[found[-1]]]), np.array([[total]]), total + 1
    return found, time.perf_counter() - start
