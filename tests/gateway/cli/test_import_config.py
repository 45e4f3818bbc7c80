"""Configurations of LiteLLM's proxy and of Bifrost become ours; what has no equivalent is told line by line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.__main__ import run_command
from gateway.cli.import_config import FORMATS, MAX_BYTES, render
from gateway.cli.imports.draft import Draft, upper_bound
from gateway.config.loader import from_tree, load
from providers import other_names, registry

SECRET = "sk-of-a-vendor-that-must-not-show"
LITELLM = f"""
model_list:
  - model_name: rerank-prod
    litellm_params: {{model: cohere/rerank-v3.5, api_key: os.environ/COHERE_KEY, rpm: 600, timeout: 10}}
    model_info: {{mode: rerank, input_cost_per_query: 0.002}}
  - model_name: rerank-prod
    litellm_params: {{model: jina_ai/jina-reranker-v3, api_key: {SECRET}, weight: 2}}
  - model_name: rerank-local
    litellm_params: {{model: hosted_vllm/BAAI/bge-reranker-v2-m3, api_base: "os.environ/VLLM_URL"}}
  - model_name: cloud
    litellm_params: {{model: bedrock/amazon.rerank-v1:0, aws_region_name: us-west-2}}
  - model_name: gpt
    litellm_params: {{model: openai/gpt-5}}
  - model_name: other
    litellm_params: {{model: scaleway/a-reranker}}
router_settings:
  num_retries: 2
  timeout: 30
  allowed_fails: 3
  retry_policy: {{RateLimitErrorRetries: 3}}
  fallbacks: [{{rerank-prod: [rerank-local, gpt]}}, {{gpt: [rerank-local]}}]
  model_group_alias: {{rerank: rerank-prod, chat: gpt}}
litellm_settings: {{cache: true, request_timeout: 20}}
general_settings: {{master_key: {SECRET}}}
"""
BIFROST = {
    "providers": {
        "cohere": {
            "keys": [
                {"name": "a", "value": "env.COHERE_A", "weight": 0.7},
                {"name": "b", "value": SECRET, "weight": 0.3, "models": ["rerank-v3.5"]},
            ],
            "network_config": {"max_retries": 3, "retry_backoff_initial": 500, "insecure_skip_verify": True},
            "concurrency_and_buffer_size": {"concurrency": 20, "buffer_size": 50},
        },
        "vllm": {"keys": [{"value": "", "vllm_key_config": {"url": f"http://gpu-{number}:8000"}} for number in (1, 2)]},
        "openai": {"keys": [{"value": "env.OPENAI_API_KEY"}]},
        "lab": {
            "custom_provider_config": {
                "base_provider_type": "openai",
                "request_path_overrides": {"rerank": "/api/rerank"},
            },
            "network_config": {"base_url": "http://lab:9000"},
            "proxy_config": {"type": "none"},
        },
    },
    "governance": {"virtual_keys": [{"value": SECRET}]},
}


def litellm() -> Draft:
    return FORMATS["litellm"](yaml.safe_load(LITELLM))


def bifrost() -> Draft:
    return FORMATS["bifrost"](BIFROST)


def test_litellms_models() -> None:
    assert litellm().models == {
        "rerank-prod": {
            "targets": [{"target": "cohere/rerank-v3.5"}, {"target": "jina/jina-reranker-v3", "weight": 2}],
            "strategy": "weighted",
            "fallbacks": ["rerank-local"],
        },
        "rerank-local": {"target": "vllm/BAAI/bge-reranker-v2-m3"},
        "cloud": {"target": "bedrock/amazon.rerank-v1:0"},
        "rerank": litellm().models["rerank-prod"],
    }


def test_litellms_providers() -> None:
    providers = litellm().providers
    assert providers["cohere"]["api_key"] == "${COHERE_KEY}"
    assert providers["cohere"]["timeout"] == 10
    assert providers["jina"] == {
        "api_key": "${JINA_API_KEY}",
        "timeout": 30,
        "retry": {"retries": 2},
        "breaker": {"failures": 3},
    }
    assert providers["vllm"]["base_url"] == "${VLLM_URL}"
    assert providers["bedrock"]["options"] == {"region": "us-west-2"}
    assert litellm().settings == {"deadline": {"default": 20}}


def test_bifrosts_providers() -> None:
    providers = bifrost().providers
    assert providers["cohere"] == {
        "retry": {"retries": 3, "base_backoff": "500ms", "max_backoff": "500ms"},
        "bulkhead": {"concurrency": 20, "queue": 50},
        "api_keys": [
            {"name": "a", "key": "${COHERE_A}", "weight": 0.7},
            {"name": "b", "key": "${COHERE_API_KEY_2}", "weight": 0.3},
        ],
    }
    assert providers["vllm"] == {"base_url": "http://gpu-1:8000"}
    assert providers["vllm-2"] == {"adapter": "vllm", "base_url": "http://gpu-2:8000"}
    assert providers["lab"] == {
        "adapter": "compatible",
        "base_url": "http://lab:9000",
        "proxy": "none",
        "options": {"path": "/api/rerank"},
    }


TOLD = {
    "litellm": [
        "model_list[0].litellm_params.rpm",
        "model_list[0].model_info.input_cost_per_query",
        "model_list[1].litellm_params.api_key",
        "model_list[4]",
        "model_list[5]",
        "router_settings.fallbacks.gpt",
        "router_settings.model_group_alias.chat",
        "router_settings.retry_policy",
        "litellm_settings.cache",
        "general_settings.master_key",
    ],
    "bifrost": [
        "providers.cohere.network_config.insecure_skip_verify",
        "providers.cohere.keys[1].models",
        "providers.cohere.keys[1].value",
        "providers.openai",
        "governance",
    ],
}


@pytest.mark.parametrize(("draft", "places"), [(litellm(), TOLD["litellm"]), (bifrost(), TOLD["bifrost"])], ids=TOLD)
def test_what_has_no_equivalent_is_told(draft: Draft, places: list[str]) -> None:
    assert [note.partition(": ")[0] for note in draft.notes] == places


@pytest.mark.parametrize("draft", [litellm(), bifrost()], ids=TOLD)
def test_what_is_printed_loads_and_holds_no_secret(draft: Draft, tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(render(draft, "theirs"), encoding="utf-8")
    names = ("COHERE_KEY", "JINA_API_KEY", "COHERE_A", "COHERE_API_KEY_2")
    load(file, {**dict.fromkeys(names, "a-key"), "VLLM_URL": "http://gpu:8000"})
    assert SECRET not in file.read_text()
    assert "To do before it loads" not in file.read_text()
    assert "&id" not in file.read_text(), "anchors are hard to read"


def test_what_will_not_load_is_told() -> None:
    draft = FORMATS["litellm"](
        {"model_list": [{"model_name": "r", "litellm_params": {"model": "cohere/rerank-v3.5", "timeout": "soon"}}]}
    )
    assert "To do before it loads" in render(draft, "theirs")


ODD: dict[str, Any] = {
    "nothing": {},
    "no list": {"model_list": 5},
    "no mappings": {"model_list": ["a", None, 1], "router_settings": [], "general_settings": "x"},
    "no model": {"model_list": [{"model_name": None, "litellm_params": {}}]},
    "fallbacks of another form": {"router_settings": {"fallbacks": ["a", {"b": 3}], "model_group_alias": {"c": {}}}},
    "providers of another form": {"providers": ["a"]},
    "sections of another form": {"providers": {"cohere": None, "vllm": {"keys": "k", "network_config": 3}}},
}


@pytest.mark.parametrize("format_name", FORMATS)
@pytest.mark.parametrize("tree", ODD.values(), ids=ODD)
def test_an_odd_file_is_no_crash(tree: Any, format_name: str) -> None:
    render(FORMATS[format_name](tree), "theirs")


BROKEN = {
    "not YAML": ("a: [", "is neither YAML nor JSON"),
    "a list": ("[]", "is not a mapping at its top"),
    "no reranker": ("model_list: []", "has no rerank model"),
    "too large": ("x" * (MAX_BYTES + 1), "has more than"),
}


@pytest.mark.parametrize(("text", "told"), BROKEN.values(), ids=BROKEN)
def test_what_cannot_be_imported_says_why(
    text: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "theirs.yaml"
    file.write_text(text, encoding="utf-8")
    assert run_command(["import", "litellm", str(file)]) == 1
    error = capsys.readouterr().err
    assert told in error
    assert "Traceback" not in error


def test_the_command_prints_what_check_takes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(BIFROST), encoding="utf-8")
    assert run_command(["import", "bifrost", str(file)]) == 0
    assert set(yaml.safe_load(capsys.readouterr().out)["providers"]) == {"cohere", "vllm", "vllm-2", "lab"}


def test_every_adapter_that_is_named_exists() -> None:
    assert {*other_names.LITELLM.values(), *other_names.BIFROST.values()} <= set(registry.names())


def test_init_writes_what_import_prints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    theirs, ours = tmp_path / "config.yaml", tmp_path / "gateway.yaml"
    theirs.write_text(LITELLM, encoding="utf-8")
    assert run_command(["init", "--from", "litellm", str(theirs), str(ours)]) == 0
    assert f"wrote {ours} from {theirs}" in capsys.readouterr().out
    assert run_command(["import", "litellm", str(theirs)]) == 0
    assert ours.read_text(encoding="utf-8") == capsys.readouterr().out
    assert run_command(["init", "--from", "litellm", str(theirs), str(ours)]) == 1, "it is there already"


MISUSED = {
    "no such format": (["--from", "portkey"], "there are litellm and bifrost"),
    "a provider as well": (["--provider", "cohere", "--from", "litellm"], "leave --provider, --set and --key out"),
}


@pytest.mark.parametrize(("arguments", "told"), MISUSED.values(), ids=MISUSED)
def test_a_misuse_of_from_writes_nothing(
    arguments: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs, ours = tmp_path / "config.yaml", tmp_path / "gateway.yaml"
    theirs.write_text(LITELLM, encoding="utf-8")
    assert run_command(["init", *arguments, str(theirs), str(ours)]) == 1
    assert told in capsys.readouterr().err
    assert not ours.exists()


BOUNDS: dict[str, tuple[Any, Any, Any]] = {
    # a duration, their upper bound, and the one that is written where ours is 300 s
    "theirs": (10, 20, 20),
    "neither": (None, None, None),
    "within ours": (300, None, None),
    "beyond ours": (600, None, 600),
    "beyond ours, as text": ("10m", None, "10m"),
    "no duration": ("soon", None, None),
    "no number": ([1], None, None),
}


@pytest.mark.parametrize(("value", "bound", "written"), BOUNDS.values(), ids=BOUNDS)
def test_a_duration_of_theirs_stays_within_its_upper_bound(value: Any, bound: Any, written: Any) -> None:
    assert upper_bound(value, bound, 300.0) == written


def test_long_durations_of_litellm_load() -> None:
    theirs = {
        "model_list": [
            {"model_name": "r", "litellm_params": {"model": "cohere/rerank-v3.5", "api_key": "os.environ/K"}}
        ],
        "litellm_settings": {"request_timeout": 600},
        "router_settings": {"cooldown_time": 900},
    }
    tree = FORMATS["litellm"](theirs).tree()
    assert tree["deadline"] == {"default": 600, "max": 600}
    assert tree["providers"]["cohere"]["breaker"] == {"base_ejection": 900, "max_ejection": 900}
    tree["providers"]["cohere"]["api_key"] = "k"
    assert from_tree(tree).deadline.max == 600
