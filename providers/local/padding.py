"""The token that fills short rows of a batch: one, of which the tokenizer and the model both know."""

from __future__ import annotations

from typing import Any

from sentence_transformers.base.model import BaseModel
from sentence_transformers.base.modules import Transformer

from providers.errors import NotReady


def settle_pad_token(net: BaseModel, configured: str | None) -> None:
    """Give tokenizers and models the configured pad token, else the tokenizer's own, else its end of text.

    Where the two disagree, a classifier over a causal model takes the padding for the last word. Raises NotReady if
    there is no such token.
    """
    for module in net.modules():
        if isinstance(module, Transformer) and module.tokenizer is not None:
            _settle(module.tokenizer, module.model, configured)


def _settle(tokenizer: Any, model: Any, configured: str | None) -> None:
    token = configured or tokenizer.pad_token or tokenizer.eos_token
    if token is None:
        raise NotReady(
            "the tokenizer has neither a pad token nor an end of text to fill a batch with; configure `pad_token` as"
            " one of its tokens"
        )
    number = tokenizer.get_vocab().get(token)
    if number is None:
        raise NotReady(
            f'the tokenizer has no token "{token}" to fill a batch with; configure `pad_token` as one it has'
        )
    if number >= _embeddings(model):
        raise NotReady(f'the model has no embedding for "{token}"; configure `pad_token` as a token that it knows')
    tokenizer.pad_token = token
    for config in (model.config, model.config.get_text_config()):
        config.pad_token_id = number


def _embeddings(model: Any) -> int:
    """How many tokens the model has embeddings for; a huge number where it makes them otherwise."""
    try:
        return len(model.get_input_embeddings().weight)
    except NotImplementedError:
        return 1 << 62
