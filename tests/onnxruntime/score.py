"""Score pairs with ONNX Runtime: `python score.py MODEL.onnx < PAIRS`, in an environment that has it.

Standard input is a JSON list of pairs as token ids with their segment ids, `[{"ids": […], "types": […]}, …]`; standard
output is the list of their logits. Each pair is computed by itself: activations are rounded by the batch.
"""

from __future__ import annotations

import json
import sys

import numpy as np
import onnxruntime

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
logits = []
for pair in json.load(sys.stdin):
    features = {
        "input_ids": np.array([pair["ids"]], np.int64),
        "attention_mask": np.ones((1, len(pair["ids"])), np.int64),
        "token_type_ids": np.array([pair["types"]], np.int64),
    }
    (out,) = session.run(None, {value.name: features[value.name] for value in session.get_inputs()})
    logits.append(float(out[0, 0]))
json.dump(logits, sys.stdout)
