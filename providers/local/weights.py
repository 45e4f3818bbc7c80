"""Whether a model's file held all of its weights. The libraries fill what is missing with random numbers."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sentence_transformers import SentenceTransformer
from sentence_transformers.base.model import BaseModel
from sentence_transformers.base.modules import Transformer
from torch import Tensor
from transformers import PreTrainedModel

from providers.errors import NotReady

LOAD_LOCK = threading.Lock()
"""One model loads at a time: while it does, transformers changes settings of the whole process, and so do we."""

MAX_NAMES = 5
"""Names of weights that a message lists; of more it tells the number."""

UNREAD_POOLER = "pooler."
"""Begins the names of a layer that is not computed from where an embedding model pools its tokens itself."""

Report = dict[str, Any]
"""What transformers tells of one loaded file: `missing_keys`, `unexpected_keys` and more."""


@contextmanager
def load_reports(weights: Mapping[str, Tensor] | None = None) -> Iterator[list[Report]]:
    """Collect the reports of the models that transformers loads meanwhile.

    They are what `from_pretrained` returns for `output_loading_info=True`, which sentence-transformers does not pass.

    Args:
        weights: the model's, in place of those in its file; None leaves reading them to transformers.
    """
    reports: list[Report] = []
    original = PreTrainedModel.__dict__["from_pretrained"]

    def from_pretrained(cls: Any, name: Any, *args: Any, **kwargs: Any) -> Any:
        wants_report = kwargs.pop("output_loading_info", False)
        if weights is not None:
            name, kwargs = None, {**kwargs, "state_dict": dict(weights)}
        model, report = original.__func__(cls, name, *args, output_loading_info=True, **kwargs)
        reports.append(report)
        return (model, report) if wants_report else model

    with LOAD_LOCK:
        PreTrainedModel.from_pretrained = classmethod(from_pretrained)  # type: ignore[method-assign, assignment]  # see above
        try:
            yield reports
        finally:
            PreTrainedModel.from_pretrained = original  # type: ignore[method-assign]  # as it was


def check_weights(net: BaseModel, reports: Iterable[Report]) -> None:
    """Raises NotReady unless each file held exactly the weights that its model has.

    What the model's own class says can be left out, or ignored, is in no report.
    """
    optional = UNREAD_POOLER if _pools_tokens(net) else None
    problems: list[str] = []
    for report in reports:
        missing = [name for name in report["missing_keys"] if optional is None or not name.startswith(optional)]
        if missing:
            problems.append(f"lacks {_join_names(missing)}")
        if report["unexpected_keys"]:
            problems.append(f"holds {_join_names(report['unexpected_keys'])}, which the model does not have")
    if problems:
        raise NotReady(
            f"the weights are not those of a {type(net.transformers_model).__name__}: the file {' and '.join(problems)}"
            "; it would be served with random weights. Take the files as they were published, or convert them again"
        )


def _pools_tokens(net: BaseModel) -> bool:
    if not isinstance(net, SentenceTransformer):
        return False
    readers = [module for module in net.modules() if isinstance(module, Transformer)]
    outputs = {reader.modality_config.get("text", {}).get("method_output_name") for reader in readers}
    return outputs == {"last_hidden_state"}


def _join_names(names: Iterable[str]) -> str:
    ordered = sorted(names)
    more = f" and {len(ordered) - MAX_NAMES} more" if len(ordered) > MAX_NAMES else ""
    return ", ".join(ordered[:MAX_NAMES]) + more
