"""Reads the graph of an ONNX file: its nodes and its constant tensors. Nothing of it is run.

An ONNX file is one protocol-buffer message. Of its some fifty kinds of message three are needed here, so they are read
by their field numbers, which the format promises never to change.

Sources: https://protobuf.dev/programming-guides/encoding/, https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
(2026-11)
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from msgspec import Struct

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""Wire types: how long a field's value is."""

MAX_VARINT_BYTES = 10
"""A number of 64 bits takes no more."""

GRAPH = 7
NODE, INITIALIZER = 1, 5
INPUT, OUTPUT, OPERATION = 1, 2, 4
DIMS, DATA_TYPE, FLOAT_DATA, INT32_DATA, NAME, RAW_DATA = 1, 2, 4, 5, 8, 9
"""The numbers of the fields that are read, of ModelProto, GraphProto, NodeProto and TensorProto in this order."""

DTYPES = {1: "<f4", 2: "u1", 3: "i1", 6: "<i4", 7: "<i8"}
"""TensorProto.DataType, as numpy writes it. Constants of other types are not read."""

Array = np.ndarray[Any, np.dtype[Any]]
Value = int | memoryview


class Node(Struct, frozen=True):
    """One operation of a graph, with the names of the tensors that it takes and gives."""

    operation: str
    inputs: list[str]
    outputs: list[str]


class Graph(Struct, frozen=True):
    """What a model computes.

    Attributes:
        tensors: its constants by name, in the shape and type that they are stored in.
    """

    nodes: list[Node]
    tensors: dict[str, Array]


def read_graph(content: bytes) -> Graph:
    """The graph of an ONNX file. Raises ValueError for anything that is not a whole one."""
    graph = next((value for number, value in fields(memoryview(content)) if number == GRAPH), None)
    if not isinstance(graph, memoryview):
        raise ValueError("not an ONNX file: it holds no graph")
    nodes, tensors = list[Node](), dict[str, Array]()
    for number, value in fields(graph):
        if number == NODE:
            nodes.append(_node(_bytes(value)))
        elif number == INITIALIZER:
            name, array = _tensor(_bytes(value))
            if array is not None:
                tensors[name] = array
    return Graph(nodes, tensors)


def fields(message: memoryview) -> Iterator[tuple[int, Value]]:
    """The fields of a message: number and value. Raises ValueError where it is cut short or malformed."""
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        number, wire_type = key >> 3, key & 7
        if wire_type == VARINT:
            value, place = _varint(message, place)
            yield number, value
            continue
        size, place = _size(message, place, wire_type)
        if place + size > len(message):
            raise ValueError("the ONNX file is cut short")
        yield number, message[place : place + size]
        place += size


def _size(message: memoryview, place: int, wire_type: int) -> tuple[int, int]:
    if wire_type == BYTES:
        return _varint(message, place)
    if wire_type in (FIXED32, FIXED64):
        return (4 if wire_type == FIXED32 else 8), place
    raise ValueError(f"not an ONNX file: it has a field of the unknown wire type {wire_type}")


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    """A number of seven bits a byte, the lowest first, and the place after it."""
    value = 0
    for index, byte in enumerate(message[place : place + MAX_VARINT_BYTES]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, place + index + 1
    raise ValueError("the ONNX file is cut short, or none")


def _bytes(value: Value) -> memoryview:
    if isinstance(value, int):
        raise ValueError("not an ONNX file: it has a number where a message belongs")
    return value


def _text(value: Value) -> str:
    return bytes(_bytes(value)).decode()


def _node(message: memoryview) -> Node:
    node = Node("", [], [])
    operation = ""
    for number, value in fields(message):
        if number == INPUT:
            node.inputs.append(_text(value))
        elif number == OUTPUT:
            node.outputs.append(_text(value))
        elif number == OPERATION:
            operation = _text(value)
    return Node(operation, node.inputs, node.outputs)


def _tensor(message: memoryview) -> tuple[str, Array | None]:
    """Its name and content; None where it is of a type that is not read."""
    shape, found = list[int](), dict[int, Value]()
    for number, value in fields(message):
        if number == DIMS:
            shape += _integers(value)
        else:
            found[number] = value
    name = _text(found.get(NAME, memoryview(b"")))
    dtype = DTYPES.get(_integers(found.get(DATA_TYPE, 0))[0])
    if dtype is None:
        return name, None
    values = _values(found, np.dtype(dtype))
    if len(values) != math.prod(shape):
        raise ValueError(f'the tensor "{name}" of the ONNX file has {len(values)} values for the shape {shape}')
    return name, values.reshape(shape)


def _values(found: dict[int, Value], dtype: np.dtype[Any]) -> Array:
    """The values of a tensor: as raw bytes, or in the field of its type."""
    if RAW_DATA in found:
        return np.frombuffer(_bytes(found[RAW_DATA]), dtype)
    if dtype.kind == "f":
        return np.frombuffer(_bytes(found.get(FLOAT_DATA, memoryview(b""))), "<f4")
    return np.array(_integers(found.get(INT32_DATA, memoryview(b""))), dtype)


def _integers(value: Value) -> list[int]:
    """Numbers that are packed into one field, or one that stands for itself."""
    if isinstance(value, int):
        return [value]
    numbers, place = list[int](), 0
    while place < len(value):
        number, place = _varint(value, place)
        numbers.append(number)
    return numbers
