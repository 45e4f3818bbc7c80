"""By what entries are found: keyed digests, from which nobody can tell a text, nor test for one without the secret."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from operator import attrgetter

from providers.types import RerankRequest, TextOrParts

KEY_BYTES = 16
_ONLY_TEXT = {str}
QUESTION_BYTES = 32

IRRELEVANT = frozenset(
    {
        "model",  # the target is in the key, whatever name led to it
        "documents",
        "top_n",
        "priority",
        "return_documents",
        "first_stage_scores",
        "scores",  # these three are the gateway's own, and applied to what the target gave
        "min_score",
        "call",
        "attempt",
    }
)
"""Fields of a request that do not change a document's score. A new field does, until it is listed here."""

_relevant = attrgetter(*(name for name in RerankRequest.__struct_fields__ if name not in IRRELEVANT))


class QuestionKeys:
    """Makes the digests of questions to one target.

    Args:
        secret: without it nobody can make them.
        target: who is asked, and all of its settings that could change a score.
    """

    def __init__(self, secret: bytes, target: bytes) -> None:
        self._begun = blake2b(target, digest_size=QUESTION_BYTES, key=secret)

    def of(self, request: RerankRequest) -> bytes:
        """The digest of everything but the documents: who asks for what."""
        digest = self._begun.copy()
        # repr tells values of different types apart, and takes every text, half a surrogate pair too.
        digest.update(repr((request.call.caller, _relevant(request))).encode())
        return digest.digest()


def keys_of_documents(question: bytes, documents: Sequence[TextOrParts]) -> list[bytes]:
    """A key for each document of that question."""
    begun = blake2b(digest_size=KEY_BYTES, key=question)
    keys = []
    for document in documents:
        digest = begun.copy()
        if type(document) is str:
            digest.update(document.encode("utf-8", "surrogatepass"))
        else:
            digest = blake2b(repr(document).encode(), digest_size=KEY_BYTES, key=question, person=b"parts")
        keys.append(digest.digest())
    return keys


def local_keys_of_documents(question: bytes, documents: Sequence[TextOrParts]) -> list[bytes]:
    """As `keys_of_documents`, for a store that no other process reads, at a tenth of the cost.

    Of a text it is Python's own hash: 64 bits of SipHash with a key that each process draws
    (https://peps.python.org/pep-0456/). It tells apart the documents of one question of one caller; of ten thousand of
    them, two are the same by chance once in 10^11 questions, and who found two on purpose would mislead only himself.
    """
    if set(map(type, documents)) == _ONLY_TEXT:
        return [hash(document).to_bytes(8, "little", signed=True) for document in documents]
    return keys_of_documents(question, documents)


def key_of_list(question: bytes, request: RerankRequest) -> bytes:
    """The key of all documents in their order, for a model that scores them together."""
    whole = blake2b(repr(request.top_n).encode(), digest_size=KEY_BYTES, key=question, person=b"list")
    for key in keys_of_documents(question, request.documents):
        whole.update(key)
    return whole.digest()
