"""Callers' texts hold no control tokens: `<|im_end|>` or `[SEP]` in a document is read as the characters it is made of.

A tokenizer finds its control tokens by their names, wherever these stand. So they get names that nobody can guess, in
the tokenizer and in the templates and prompts that came with the model. Their ids stay, and so what the model reads.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Iterable
from typing import Any

from sentence_transformers.base.model import BaseModel
from sentence_transformers.base.modules import Transformer

from providers.errors import NotReady, Unsupported
from providers.local.tokens import PROBE

DELIMITED = re.compile(r"<.+>|\[.+\]", re.DOTALL)
"""The form of control tokens. Some tokenizers do not mark them as special: `<think>`, `<|im_start|>`."""

Names = dict[str, str]
"""From control tokens to their names that nobody can guess."""


def hide_control_tokens(net: BaseModel) -> None:
    """Rename the control tokens of a model's tokenizers. Raises NotReady if its prompt would then read otherwise."""
    readers = [module for module in net.modules() if isinstance(module, Transformer) and module.tokenizer is not None]
    before = _probe(net)
    names: Names = {}
    for reader in readers:
        names |= {token: secrets.token_hex(16) for token in control_tokens(reader.tokenizer) if token not in names}
    rename = _renaming(names)
    for reader in readers:
        _rename_in_tokenizer(reader.tokenizer, names)
        for owner in (reader.processor, reader.tokenizer):
            _rename_in_template(owner, rename)
    net.prompts = {name: rename(prompt) if prompt else prompt for name, prompt in net.prompts.items()}
    if _probe(net) != before:
        raise NotReady(
            "the model's template makes its control tokens of parts, so they cannot be told apart from callers' texts;"
            " write each of them whole in chat_template.jinja"
        )


def control_tokens(tokenizer: Any) -> set[str]:
    """The tokens that mean something else than their characters. Words that were added to a vocabulary are not."""
    if getattr(tokenizer, "backend_tokenizer", None) is None:
        return set()
    added = tokenizer.backend_tokenizer.get_added_tokens_decoder().values()
    return {token.content for token in added if token.special or DELIMITED.fullmatch(token.content)}


def refuse_control_tokens(tokenizer: Any, rows: Iterable[list[int]], expected: list[int]) -> None:
    """Raises Unsupported if a row has other control tokens than the `expected` row, where they could not be renamed.

    Tokenizers in Python look up whole words, or single characters, among all of their tokens.
    """
    if getattr(tokenizer, "backend_tokenizer", None) is not None:
        return
    control = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
    allowed = sum(token in control for token in expected)
    if any(sum(token in control for token in row) > allowed for row in rows):
        raise Unsupported(
            "the query or a document holds a control token of this model, which its tokenizer cannot read as text;"
            " leave it out"
        )


def _renaming(names: Names) -> Callable[[str], str]:
    if not names:
        return lambda text: text
    # The longest first, as `<|end|>` may be within another.
    pattern = re.compile("|".join(map(re.escape, sorted(names, key=len, reverse=True))))
    return lambda text: pattern.sub(lambda match: names[match[0]], text)


def _rename_in_tokenizer(tokenizer: Any, names: Names) -> None:
    if getattr(tokenizer, "backend_tokenizer", None) is None:
        # A tokenizer in Python has a switch for it. A template would be split as well.
        if tokenizer.chat_template:
            raise NotReady("the model needs a fast tokenizer: with this one callers' texts could hold control tokens")
        tokenizer.split_special_tokens = True
        return
    backend = tokenizer.backend_tokenizer
    saved = json.loads(backend.to_str())
    for added in saved["added_tokens"]:
        added["content"] = names.get(added["content"], added["content"])
    _rename_in_vocabulary(saved["model"], names)
    tokenizer._tokenizer = type(backend).from_str(json.dumps(saved))
    for attribute, token in tokenizer.special_tokens_map.items():
        if isinstance(token, str):
            setattr(tokenizer, attribute, names.get(token, token))


def _rename_in_vocabulary(model: dict[str, Any], names: Names) -> None:
    """Without this a piece of a text could still equal a control token: Unigram takes the longest pieces that fit."""
    vocabulary = model["vocab"]
    if isinstance(vocabulary, list):
        model["vocab"] = [[names.get(piece, piece), score] for piece, score in vocabulary]
    else:
        model["vocab"] = {names.get(piece, piece): number for piece, number in vocabulary.items()}
    if model.get("unk_token"):
        model["unk_token"] = names.get(model["unk_token"], model["unk_token"])
    if "merges" in model:
        pairs = [pair if isinstance(pair, list) else pair.split(" ", 1) for pair in model["merges"]]
        model["merges"] = [pair for pair in pairs if not names.keys() & {*pair, "".join(pair)}]


def _rename_in_template(owner: Any, rename: Callable[[str], str]) -> None:
    template = getattr(owner, "chat_template", None)
    if isinstance(template, str):
        owner.chat_template = rename(template)
    elif isinstance(template, dict):
        owner.chat_template = {name: rename(text) for name, text in template.items()}


def _probe(net: BaseModel) -> list[list[int]]:
    """The ids of a text, or a pair, with each of the model's prompts."""
    paired = type(net).__name__ == "CrossEncoder"
    text: Any = (PROBE, PROBE) if paired else PROBE
    prompts = [None, *filter(None, net.prompts.values())]
    return [net.preprocess([text], prompt=prompt)["input_ids"].tolist() for prompt in prompts]
