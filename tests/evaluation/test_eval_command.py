"""`rerank-gateway eval` from end to end: a gateway in this process or in its own, vendors on loopback."""

from __future__ import annotations

import json
import math
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from msgspec.structs import replace

from evaluation.measures.calibration import Calibration, Platt, Step
from evaluation.report.calibrated import calibration_yaml
from evaluation.report.model import Contestant
from gateway.__main__ import main
from gateway.config.loader import from_tree
from providers.testing import ScriptedUpstream
from providers.testing.upstream import ReceivedRequest, Reply, rank_by_words

ROOT = Path(__file__).parents[2]
SECRET = "xylophone"
"""A word of a query and of a document, which no output may hold."""

ROWS = [
    {
        "id": f"q{number}",
        "query": f"{SECRET} number {number}",
        "documents": [f"noise {number} a", f"noise {number} b", f"{SECRET} number {number} {'z' * number}"],
        "relevant": [2],
    }
    for number in range(12)
]


@pytest.fixture
def place(tmp_path: Path, upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with test data and a configuration: a vendor, a passthrough, an alias."""
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    configure(tmp_path, upstream.url)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def configure(folder: Path, url: str, **vendor: Any) -> None:
    settings = {"adapter": "vllm", "base_url": f"{url}/v1", "retry": {"retries": 0}, **vendor}
    tree = {
        "providers": {"vendor": settings, "own": {"adapter": "passthrough"}},
        "models": {"words": {"target": "vendor/m"}, "order": {"target": "own/x"}},
        "prices": {"vendor/*": {"per_search": 0.002, "documents_per_search": 100}},
    }
    (folder / "gateway.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")


@pytest.fixture
def evaluate(place: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run the command on the data here; exit status, output, errors. No output of it may hold a text."""

    def run(*arguments: str, data: str = "data.jsonl", texts: bool = False) -> tuple[int, str, str]:
        given = ["eval", "--data", data, "--config", "gateway.yaml", *arguments]
        status = main([*given, "--show-texts"] if texts else given)
        out, err = capsys.readouterr()
        assert SECRET not in err
        if not texts:
            assert SECRET not in out
            for file in place.glob("rerank-eval/*"):
                assert SECRET not in file.read_text("utf-8"), file
        return status, out, err

    return run


Evaluate = Callable[..., tuple[int, str, str]]


def report(folder: str = "rerank-eval") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(folder, "report.json").read_bytes())
    return found


def contestant(name: str, folder: str = "rerank-eval") -> dict[str, Any]:
    return next(each for each in report(folder)["contestants"] if each["name"] == name)


@pytest.mark.parametrize("key", ["platt", "isotonic"])
def test_the_printed_calibration_can_be_pasted(evaluate: Evaluate, place: Path, key: str) -> None:
    """As it stands, or with the other kind uncommented: the gateway then gives the probabilities that were fitted."""
    rows = [{**row, "id": f"{row['id']}-{n}", "relevant": [2] if n % 3 else [1]} for n in range(2) for row in ROWS]
    (place / "more.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    status, out, _ = evaluate("--model", "words", data="more.jsonl")
    assert status == 0
    printed = out[out.index("calibrations:") :].split("\n\n")[0]
    if key == "isotonic":
        printed = printed.replace("    platt", "    # platt").replace("    # isotonic", "    isotonic")
        printed = printed.replace("    #   -", "      -")
    tree = {"providers": {"vendor": {"adapter": "vllm", "base_url": "http://localhost:1"}}, "auth": "none"}
    calibrations = from_tree({**tree, **yaml.safe_load(printed)}).calibrations
    assert list(calibrations) == ["vendor/m"]
    fitted = contestant("words")["calibration"]
    for score in (0.0, 0.4, 1.0):
        found = calibrations["vendor/m"].probability(score)
        if key == "platt":
            platt = fitted["platt"]
            assert found == pytest.approx(1 / (1 + math.exp(-platt["slope"] * score - platt["intercept"])), rel=1e-3)
        else:
            below = [step["probability"] for step in fitted["isotonic"] if step["score"] <= score]
            assert found == pytest.approx((below or [fitted["isotonic"][0]["probability"]])[-1], rel=1e-3)


def test_a_calibration_that_cannot_be_pasted_says_why() -> None:
    platt = Platt(-2.0, 0.1)
    found = Calibration(
        documents=60, error=None, bins=[], platt=platt, platt_error=0.1, platt_bins=[], isotonic=[Step(0.0, 0.5)]
    )
    backwards = Contestant(name="search", measures={}, calibration=found)
    assert calibration_yaml(backwards).startswith("# search: the scores do not rise")
    several = Contestant(name="search", measures={}, calibration=replace(found, platt=Platt(2.0, 0.1)))
    assert "# in place of search, write the `provider/model`" in calibration_yaml(several)
    assert calibration_yaml(Contestant(name="search", measures={})) == ""


def test_all_names_of_the_configuration_are_measured(evaluate: Evaluate) -> None:
    status, out, _ = evaluate()
    assert status == 0
    assert [each["name"] for each in report()["contestants"]] == ["none", "order", "words", "oracle"]
    assert contestant("words")["measures"]["nDCG@10"]["mean"] == 1.0
    assert contestant("words")["gap_share"] == 1.0
    assert contestant("none")["measures"]["nDCG@10"]["mean"] == 0.5
    comparison = contestant("words")["comparisons"]["nDCG@10"]
    assert (comparison["wins"], comparison["losses"]) == (12, 0)
    assert comparison["p"] < 0.01
    assert contestant("words")["cost_per_1000"] == 2.0
    assert contestant("order")["degraded"] == 12
    assert "words is better than none" in out
    assert "12 answers of order came from a passthrough" in out


def test_probes_show_what_depends_on_the_order(evaluate: Evaluate) -> None:
    evaluate()
    assert contestant("words")["reversal"]["difference"]["mean"] == 0.0
    assert contestant("words")["no_answer"]["auc"] == 1.0
    assert contestant("order")["reversal"]["tau"] == -1.0
    assert contestant("order")["reversal"]["difference"]["mean"] == 0.5  # the relevant one comes first then


def test_a_rerun_asks_nothing_and_gives_the_same_bytes(evaluate: Evaluate, upstream: ScriptedUpstream) -> None:
    evaluate()
    asked, files = len(upstream.requests), {file.name: file.read_bytes() for file in Path("rerank-eval").iterdir()}
    assert asked == 36  # 12 queries, each also reversed and without its answer
    status, _, err = evaluate()
    assert (status, len(upstream.requests), err) == (0, asked, "")
    assert {file.name: file.read_bytes() for file in Path("rerank-eval").iterdir()} == files


def test_what_stands_twice_is_asked_once(evaluate: Evaluate, upstream: ScriptedUpstream) -> None:
    rows = [{**row, "id": f"{row['id']}{copy}"} for row in ROWS for copy in "ab"]
    Path("twice.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    evaluate("--model", "words", "--probes", "0", data="twice.jsonl")
    assert len(upstream.requests) == 12
    assert contestant("words")["measures"]["P@1"]["mean"] == 1.0
    assert contestant("words")["questions"] == 24


CHANGES: dict[str, tuple[list[str], int]] = {
    "nothing": ([], 0),
    "another baseline": (["--against", "words"], 0),
    "fewer probes": (["--probes", "3"], 0),
    "a parameter": (["--max-tokens-per-doc", "9"], 36),
    "fewer candidates": (
        ["--top", "2"],
        12,
    ),  # the relevant one is cut off, and what is left was asked as the probe without it
}


@pytest.mark.parametrize(("arguments", "calls"), CHANGES.values(), ids=CHANGES)
def test_only_what_changed_is_asked_again(
    arguments: list[str], calls: int, evaluate: Evaluate, upstream: ScriptedUpstream
) -> None:
    evaluate("--model", "words")
    before = len(upstream.requests)
    evaluate("--model", "words", *arguments)
    assert len(upstream.requests) - before == calls


def test_another_meaning_of_the_name_is_asked_again(
    evaluate: Evaluate, upstream: ScriptedUpstream, place: Path
) -> None:
    evaluate("--model", "words", "--probes", "0")
    configure(place, upstream.url, timeout=29.0)
    evaluate("--model", "words", "--probes", "0")
    assert len(upstream.requests) == 24


def test_failures_count_as_zero_and_are_tried_again(evaluate: Evaluate, upstream: ScriptedUpstream) -> None:
    def half(request: ReceivedRequest) -> Reply:
        number = int(request.body["query"].split()[-1])
        return Reply(400, {"message": SECRET}) if number % 2 else rank_by_words(request)

    upstream.behaviour = half
    status, out, _ = evaluate("--model", "words", "--probes", "0")
    assert status == 0
    assert contestant("words")["failures"] == {"upstream_rejected": 6}
    assert contestant("words")["measures"]["nDCG@10"]["mean"] == 0.5
    assert "6 of 12 queries failed with words and count as 0" in out
    upstream.behave("ranks")
    evaluate("--model", "words", "--probes", "0")
    assert len(upstream.requests) == 18
    assert contestant("words")["failures"] == {}


def test_a_model_that_only_fails_is_given_up(evaluate: Evaluate, upstream: ScriptedUpstream, place: Path) -> None:
    rows = [{"query": f"{SECRET} {n}", "documents": ["a", "b"], "relevant": [0]} for n in range(60)]
    Path("many.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    configure(place, upstream.url, breaker={"failures": 1000})
    upstream.reply_with(500, {"message": SECRET})
    _, out, _ = evaluate("--model", "words", "--probes", "0", data="many.jsonl")
    assert "words answered nothing, so its figures say nothing: " in out
    assert "worse than" not in out
    assert len(upstream.requests) < 30
    failures = contestant("words")["failures"]
    assert sum(failures.values()) == 60
    assert failures["not_asked"] > 30


WRONG_SETUP: dict[str, tuple[str, int, str]] = {
    "a name that is near": ("wrods", 200, 'unknown model "wrods"; did you mean "words"?'),
    "an unknown provider": ("nobody/m", 200, 'unknown model "nobody/m"'),
    "a key that is refused": ("words", 401, 'provider "vendor" refused the gateway\'s own credentials'),
    "a model that the vendor has not": ("vendor/nope", 404, "there is no such model"),
}


@pytest.mark.parametrize(("name", "status", "sentence"), WRONG_SETUP.values(), ids=WRONG_SETUP)
def test_a_wrong_setup_is_told_and_gets_no_row(
    name: str, status: int, sentence: str, evaluate: Evaluate, upstream: ScriptedUpstream
) -> None:
    if status != 200:
        upstream.reply_with(status, {"message": "there is no such model"})
    ended, out, err = evaluate("--model", name, "--probes", "0")
    assert (ended, out) == (1, "")
    told = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(told) == 1
    assert told[0].startswith(f"error: {name} cannot be measured: {sentence}")
    assert not Path("rerank-eval/report.json").exists()


def test_the_others_are_measured_beside_a_wrong_setup(evaluate: Evaluate) -> None:
    ended, out, err = evaluate("--model", "wrods", "--model", "words", "--probes", "0", "--fail-under", "P@1=0.1")
    assert ended == 1
    assert [each["name"] for each in report()["contestants"]] == ["none", "words", "oracle"]
    assert "wrods" not in out
    assert "error: wrods cannot be measured: unknown model" in err
    ended, out, _ = evaluate("--model", "wrods", "--model", "words", "--probes", "0", "--against", "wrods")
    assert (ended, out) == (1, "")


def test_what_was_answered_before_a_key_was_refused_is_shown(evaluate: Evaluate, upstream: ScriptedUpstream) -> None:
    evaluate("--model", "words", "--probes", "0", "--sample", "6")
    upstream.behave("refuses the key")
    ended, _, _ = evaluate("--model", "words", "--probes", "0")
    assert ended == 0
    assert sum(contestant("words")["failures"].values()) == 6


def test_calls_stay_within_the_limits_of_the_target(
    evaluate: Evaluate, upstream: ScriptedUpstream, place: Path
) -> None:
    active, most = 0, 0

    def counts(request: ReceivedRequest) -> Reply:
        nonlocal active, most
        active += 1
        most = max(most, active)
        reply = rank_by_words(request)
        active -= 1
        return reply

    upstream.behaviour = counts
    configure(place, upstream.url, bulkhead={"concurrency": 2, "queue": 0})
    evaluate("--model", "words", "--concurrency", "9")
    assert most <= 2
    assert contestant("words")["failures"] == {}


TEXTS: dict[str, bool] = {"with texts": True, "without": False}


@pytest.mark.parametrize("shown", TEXTS.values(), ids=TEXTS)
def test_texts_are_in_the_report_only_if_they_are_to_be(evaluate: Evaluate, shown: bool) -> None:
    evaluate("--against", "words", texts=shown)
    assert (SECRET in Path("rerank-eval/report.html").read_text("utf-8")) is shown
    losses = contestant("order")["losses"]
    assert len(losses) == 10
    assert ("query" in losses[0]) is shown
    moved = next(each for each in losses[0]["documents"] if each["gain"] == 1)
    assert (moved["before"], moved["after"]) == (1, 3)


def test_texts_cannot_break_the_page_or_the_terminal(evaluate: Evaluate) -> None:
    evil = "<script>alert(1)</script>\x1b[31m & \"'"
    row = {"query": f"b {evil}", "documents": [{"id": evil, "text": "x"}, f"b {evil}"], "relevant": [evil], "id": evil}
    Path("evil.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    _, out, _ = evaluate("--model", "words", data="evil.jsonl", texts=True)
    assert "\x1b" not in out
    page = Path("rerank-eval/report.html").read_text("utf-8")
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_without_judgements_agreement_is_told(evaluate: Evaluate) -> None:
    rows = [{key: value for key, value in row.items() if key != "relevant"} for row in ROWS]
    Path("bare.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    status, out, _ = evaluate(data="bare.jsonl")
    assert status == 0
    assert [each["name"] for each in report()["contestants"]] == ["none", "order", "words"]
    alike = {(each["one"], each["other"]): each["tau"] for each in report()["agreement"]}
    assert alike["none", "order"] == 1.0
    assert alike["none", "words"] < 1
    assert contestant("words")["losses"]
    assert "Nothing is judged" in out


VERDICTS: dict[str, tuple[int, str]] = {
    "nothing to win": (0, "Not worth it: no reranker can win more than 0.000 here."),
    "worth it": (2, "words is better than none: +0.500"),
    "no better": (1, "Not worth it: no model is better than none; the best is words: -0.131"),
}


@pytest.mark.parametrize(("relevant", "sentence"), VERDICTS.values(), ids=VERDICTS)
def test_the_verdict_says_what_it_is_worth(relevant: int, sentence: str, evaluate: Evaluate) -> None:
    rows = [{**row, "relevant": [relevant]} for row in ROWS]
    Path("other.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    _, out, _ = evaluate("--model", "words", data="other.jsonl")
    assert sentence in out


def test_a_local_model_that_cannot_be_loaded_ends_the_run_with_the_reason(evaluate: Evaluate, place: Path) -> None:
    text = Path("gateway.yaml").read_text("utf-8")
    (place / "broken").mkdir()
    (place / "broken" / "config.json").write_text("{}", encoding="utf-8")
    broken = "providers:\n  local: {models: {m: {path: broken}}}"
    Path("gateway.yaml").write_text(text.replace("providers:", broken, 1), encoding="utf-8")
    status, _, err = evaluate("--model", "local/m")
    assert status == 1
    assert "local/m cannot be measured: " in err


def test_a_model_that_takes_nothing_is_left_for_another_run(
    evaluate: Evaluate, upstream: ScriptedUpstream, place: Path
) -> None:
    upstream.reply_with(429, {"message": "too many requests"}, {"retry-after": "0"})
    evaluate("--model", "words", "--probes", "0", "--concurrency", "1")
    assert contestant("words")["failures"]["not_asked"] >= 10
    upstream.behave("ranks")
    evaluate("--model", "words", "--probes", "0")
    assert contestant("words")["failures"] == {}


GATES: dict[str, tuple[list[str], int, str]] = {
    "reached": (["--fail-under", "nDCG@10=0.5", "--fail-under", "P@1=0.9"], 0, ""),
    "not reached": (["--model", "order", "--fail-under", "P@1=0.1"], 3, "failed: order has P@1 0.0000, under 0.1"),
    "an unknown measure": (["--fail-under", "nDCG@5=1"], 1, 'not "nDCG@5"'),
    "no number": (["--fail-under", "P@1=high"], 1, "needs a number"),
}


@pytest.mark.parametrize(("arguments", "status", "message"), GATES.values(), ids=GATES)
def test_floors_set_the_exit_status(arguments: list[str], status: int, message: str, evaluate: Evaluate) -> None:
    given = arguments if "--model" in arguments else ["--model", "words", *arguments]
    ended, _, err = evaluate(*given)
    assert ended == status
    assert message in err


def test_a_drop_since_the_baseline_sets_the_exit_status(evaluate: Evaluate, upstream: ScriptedUpstream) -> None:
    only = ["--model", "words", "--probes", "0"]
    evaluate(*only, "--output", "good")

    def worse(request: ReceivedRequest) -> Reply:
        return Reply(
            200, {"results": [{"index": i, "relevance_score": -i} for i in range(len(request.body["documents"]))]}
        )

    upstream.behaviour = worse
    assert evaluate(*only, "--baseline", "good/report.json", "--max-drop", "0.6")[0] == 0
    status, _, err = evaluate(*only, "--baseline", "good/report.json", "--max-drop", "0.01")
    assert (status, "words dropped from nDCG@10 1.0000 to 0.5000" in err) == (3, True)
    status, _, err = evaluate("--model", "order", "--baseline", "good/report.json")
    assert (status, "the baseline has none of these models, but words" in err) == (1, True)


@pytest.fixture
def compare(capsys: pytest.CaptureFixture[str]) -> Evaluate:
    def run(*files: str) -> tuple[int, str, str]:
        status = main(["eval", "compare", *files])
        out, err = capsys.readouterr()
        return status, out, err

    return run


def test_reports_over_the_same_data_are_compared(evaluate: Evaluate, compare: Evaluate) -> None:
    evaluate("--output", "a", "--model", "words", "--probes", "0")
    evaluate("--output", "b", "--model", "order", "--model", "words", "--probes", "0")
    evaluate("--output", "c", "--model", "order", "--probes", "0")
    status, out, _ = compare("a", "b/report.json")
    assert status == 0
    assert [line.split()[:2] for line in out.splitlines()[1:]] == [["words", "words"]]
    status, out, _ = compare("a/report.json", "c")
    assert (status, "words  order   1.0000   0.5000   -0.500" in out) == (0, True)


OTHERS: dict[str, tuple[list[str], str]] = {
    "fewer queries": (["--sample", "5"], "their candidates and documents and judgements and queries differ (12 and 5"),
    "fewer candidates": (["--top", "2"], "their candidates and documents differ"),
}


@pytest.mark.parametrize(("arguments", "message"), OTHERS.values(), ids=OTHERS)
def test_reports_over_other_data_are_refused(
    arguments: list[str], message: str, evaluate: Evaluate, compare: Evaluate
) -> None:
    evaluate("--output", "a", "--model", "words", "--probes", "0")
    evaluate("--output", "b", "--model", "words", "--probes", "0", *arguments)
    status, _, err = compare("a", "b")
    assert status == 1
    assert message in err


UNREADABLE: dict[str, tuple[str | None, str]] = {
    "missing": (None, "cannot read"),
    "no report": ("{}", "is no report"),
    "no JSON": ("x", "is no report"),
}


@pytest.mark.parametrize(("content", "message"), UNREADABLE.values(), ids=UNREADABLE)
def test_what_is_no_report_is_not_compared(content: str | None, message: str, place: Path, compare: Evaluate) -> None:
    if content is not None:
        Path("a.json").write_text(content, encoding="utf-8")
    status, _, err = compare("a.json", "a.json")
    assert (status, message in err) == (1, True)


REFUSED: dict[str, tuple[list[str], str]] = {
    "too dear": (
        ["--model", "words", "--max-cost", "0.07"],
        "this costs about 0.0720 US dollars, more than --max",
    ),
    "an unknown price": (["--model", "local/m", "--max-cost", "1"], "--max-cost needs the price of local/m"),
    "an unknown baseline": (["--against", "nobody"], '--against names "nobody"'),
    "a model twice": (["--model", "words", "--model", "words"], "a model is named twice"),
}


@pytest.mark.parametrize(("arguments", "message"), REFUSED.values(), ids=REFUSED)
def test_nothing_is_asked_when_it_is_refused(
    arguments: list[str], message: str, evaluate: Evaluate, upstream: ScriptedUpstream
) -> None:
    status, _, err = evaluate(*arguments)
    assert (status, message in err) == (1, True), err
    assert upstream.requests == []


def test_the_estimate_is_told_before(evaluate: Evaluate) -> None:
    _, _, err = evaluate("--model", "words", "--probes", "0", "--max-cost", "0.024")
    assert err.splitlines()[0] == "words: 12 calls, about 0.0240 US dollars"


def test_a_run_stops_before_it_costs_too_much(evaluate: Evaluate, upstream: ScriptedUpstream) -> None:
    def dear(request: ReceivedRequest) -> Reply:
        reply = rank_by_words(request)
        return Reply(200, {**reply.body, "usage": {"search_units": 5}, "meta": {"billed_units": {"search_units": 5}}})

    Path("gateway.yaml").write_text(Path("gateway.yaml").read_text().replace("adapter: vllm", "adapter: cohere"))
    upstream.behaviour = dear
    options = ["--model", "words", "--probes", "0", "--concurrency", "1"]
    status, _, err = evaluate(*options, "--max-cost", "0.025")
    assert (status, "stopped at --max-cost 0.025" in err) == (1, True), err
    assert len(upstream.requests) == 3  # 0.01 each, though the estimate was 0.002
    assert evaluate(*options)[0] == 0
    assert len(upstream.requests) == 12  # it went on from there


def test_a_run_without_texts_shows_what_can_be_won(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.run").write_text("q1 Q0 d1 1 2 x\nq1 Q0 d2 2 1 x\n", encoding="utf-8")
    Path("qrels").write_text("q1 0 d2 1\n", encoding="utf-8")
    given = ["eval", "--run", "a.run", "--qrels", "qrels", "--config", "gateway.yaml"]
    assert main([*given, "--model", "none"]) == 0
    assert [each["name"] for each in report()["contestants"]] == ["none", "oracle"]
    assert main(given) == 1
    assert "models need texts" in capsys.readouterr().err


def test_a_gateway_elsewhere_is_asked_with_its_key(
    place: Path, start_gateway: Callable[..., Any], upstream: ScriptedUpstream, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    from gateway.access.keys import new_key

    key, digest = new_key()
    tree = yaml.safe_load(Path("gateway.yaml").read_text("utf-8"))
    limits = {"requests": "6/second"}
    tree["auth"] = {"keys": [{"name": "team", "hash": digest, "limits": limits}]}
    gateway = start_gateway(tree)
    gateway.wait_until_ready()
    arguments = ["eval", "--data", "data.jsonl", "--url", gateway.url, "--probes", "0"]
    arguments += ["--model", "words", "--model", "nowhere/x"]
    monkeypatch.setenv("RERANK_GATEWAY_KEY", key)
    assert main(arguments) == 1
    assert 'nowhere/x cannot be measured: unknown model "nowhere/x"' in capsys.readouterr().err
    assert contestant("words")["failures"] == {}  # though the key allows 6 in a second
    assert contestant("words")["measures"]["nDCG@10"]["mean"] == 1.0
    assert [each["name"] for each in report()["contestants"]] == ["none", "words", "oracle"]
    gateway.stop()
    capsys.readouterr()
    assert main([*arguments, "--output", "other"]) == 1
    assert "cannot reach" in capsys.readouterr().err


def test_killed_at_a_random_moment_and_resumed_the_report_is_the_same(
    place: Path, upstream: ScriptedUpstream, capsys: pytest.CaptureFixture[str]
) -> None:
    def slow(request: ReceivedRequest) -> Reply:
        if len(upstream.requests) == moment:
            process.send_signal(signal.SIGKILL)
        return rank_by_words(request)

    moment = random.randint(2, 30)
    upstream.behaviour = slow
    arguments = ["eval", "--data", "data.jsonl", "--config", "gateway.yaml", "--model", "words"]
    process = subprocess.Popen(
        [sys.executable, "-m", "gateway", *arguments, "--output", "killed"],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    assert process.wait(90) == -signal.SIGKILL, moment
    killed = Path("killed/answers.jsonl")
    before = killed.read_bytes().count(b"\n")
    with killed.open("ab") as stream:
        stream.write(b'{"key":"half writ')  # what a crash of the machine leaves
    assert before < 36
    asked = len(upstream.requests)
    assert main([*arguments, "--output", "killed"]) == 0
    assert len(upstream.requests) - asked == 36 - before
    assert main([*arguments, "--output", "whole"]) == 0
    assert without_times(report("killed")) == without_times(report("whole"))


def without_times(found: dict[str, Any]) -> dict[str, Any]:
    return {
        **found,
        "contestants": [{**each, "latency": None} for each in found["contestants"]],
    }


def test_ctrl_c_keeps_what_was_answered(place: Path, upstream: ScriptedUpstream) -> None:
    process: subprocess.Popen[bytes]

    def interrupts(request: ReceivedRequest) -> Reply:
        if len(upstream.requests) == 9:
            process.send_signal(signal.SIGINT)
        return rank_by_words(request)

    upstream.behaviour = interrupts
    arguments = ["eval", "--data", "data.jsonl", "--config", "gateway.yaml", "--model", "words", "--concurrency", "1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "gateway", *arguments],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    _, err = process.communicate(timeout=90)
    assert b"Traceback" not in err
    assert b"after Ctrl-C the same command goes on" in err
    assert process.returncode == 130
    assert 8 <= Path("rerank-eval/answers.jsonl").read_bytes().count(b"\n") <= 36
