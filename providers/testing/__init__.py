"""For authors of adapters, ours and other packages': the promises of `HttpProvider` as tests, and a vendor on loopback.

    from providers.testing import Subject, conformance

    test_conformance = conformance(Subject(PROVIDER, success=b"...", minimal=b"..."))

`docs/adding-a-provider.md` shows both at work. Nothing of the gateway imports this package, and it needs pytest only
when `conformance` is called.
"""

from providers.testing.conformance import PROMISES, Subject, conformance
from providers.testing.upstream import BEHAVIOURS, ReceivedRequest, Reply, ScriptedUpstream, rank_by_words

__all__ = [
    "BEHAVIOURS",
    "PROMISES",
    "ReceivedRequest",
    "Reply",
    "ScriptedUpstream",
    "Subject",
    "conformance",
    "rank_by_words",
]
