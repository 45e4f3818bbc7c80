"""ONNX Runtime, or OpenVINO on the same file, for benchmarks/local_int8.py, in an environment of its own.

    python onnx_peer.py onnxruntime|openvino MODEL.onnx

Reads a line with the batches, as JSON lists of rows of token ids of equal length with their segment ids; after each
further line it computes all batches on one thread and writes the CPU seconds that this took, with the logits.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

Features = dict[str, Any]


def open_onnxruntime(path: str) -> Callable[[Features], Any]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    return lambda features: session.run(None, {name: features[name] for name in names})[0]


def open_openvino(path: str) -> Callable[[Features], Any]:
    import openvino

    model = openvino.Core().compile_model(path, "CPU", {"INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY"})
    names = [name for value in model.inputs for name in value.names]
    return lambda features: model({name: features[name] for name in names})[0]


def features(rows: list[dict[str, Any]]) -> Features:
    ids = np.array([row["ids"] for row in rows], np.int64)
    types = np.array([row["types"] for row in rows], np.int64)
    return {"input_ids": ids, "attention_mask": (ids > 0).astype(np.int64), "token_type_ids": types}


def main() -> None:
    """Answer line by line."""
    compute = {"onnxruntime": open_onnxruntime, "openvino": open_openvino}[sys.argv[1]](sys.argv[2])
    batches = [features(rows) for rows in json.loads(sys.stdin.readline())]
    for _ in sys.stdin:
        start = time.process_time()
        logits = [compute(batch)[:, 0].tolist() for batch in batches]
        print(json.dumps({"cpu": time.process_time() - start, "logits": logits}), flush=True)


if __name__ == "__main__":
    main()
