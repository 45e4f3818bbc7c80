"""What Kubernetes brings by renaming `..data` is in force without a restart: configuration, keys, certificates."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme
import yaml
from msgspec import Struct

from gateway.transport.tls import TlsFiles
from tests.gateway.access.conftest import key
from tests.gateway.server.kubelet import Mount

SECRETS, ENTRIES = zip(key("before"), key("after0"), strict=True)
BODY = {"model": "passthrough/x", "query": "q", "documents": ["a"]}


def gateway_yaml(alias: str, **sections: Any) -> str:
    models = {alias: {"target": "passthrough/x"}}
    return yaml.safe_dump({"providers": {"passthrough": {}}, "models": models, **sections})


def keys_yaml(*numbers: int) -> str:
    return yaml.safe_dump({"keys": [ENTRIES[number] for number in numbers]})


def statuses(url: str, **options: Any) -> list[int]:
    """How the first and the second key are answered."""
    headers = [{"authorization": f"Bearer {secret}"} for secret in SECRETS]
    return [
        httpx.post(f"{url}/v1/rerank", json=BODY, headers=one, trust_env=False, **options).status_code
        for one in headers
    ]


def aliases(url: str) -> set[str]:
    rows = httpx.get(f"{url}/v1/models", trust_env=False).json()["data"]
    return {row["id"] for row in rows} & {"one", "two"}


class Swap(Struct):
    """What a gateway answers before and after one swap of one of its two volumes."""

    before: dict[str, str]
    after: dict[str, str]
    seen: Callable[[str], Any]
    at_first: Any
    at_last: Any


WITH_KEYS = gateway_yaml("one", auth={"file": "../secret/keys.yaml"})
SWAPS = {
    "a configuration of the same size and time": Swap(
        {"config/gateway.yaml": gateway_yaml("one")},
        {"config/gateway.yaml": gateway_yaml("two")},
        aliases,
        {"one"},
        {"two"},
    ),
    "a Secret of keys, beside the configuration's volume": Swap(
        {"config/gateway.yaml": WITH_KEYS, "secret/keys.yaml": keys_yaml(0)},
        {"secret/keys.yaml": keys_yaml(1)},
        statuses,
        [200, 401],
        [401, 200],
    ),
    "a configuration that names another file of its volume": Swap(
        {"config/gateway.yaml": gateway_yaml("one", auth={"file": "a.yaml"}), "config/a.yaml": keys_yaml(0)},
        {"config/gateway.yaml": gateway_yaml("one", auth={"file": "b.yaml"}), "config/b.yaml": keys_yaml(0, 1)},
        statuses,
        [200, 401],
        [200, 200],
    ),
}


def volume(files: dict[str, str], name: str) -> dict[str, str | bytes]:
    return {path.split("/")[1]: content for path, content in files.items() if path.startswith(f"{name}/")}


FIRST, SECOND = (yaml.safe_dump([{"query": query, "documents": ["x", "y"]}]) for query in ("a", "b"))
CANARY = {"models": {"one": {"target": "cohere/x", "canary": {"every": "1h", "texts": "../secret/texts.yaml"}}}}
LATER: dict[str, tuple[dict[str, Any], dict[str, str], dict[str, str]]] = {
    "keys": ({"auth": {"file": "../secret/keys.yaml"}}, {"keys.yaml": keys_yaml(0)}, {"keys.yaml": keys_yaml(1)}),
    "texts of a canary": (CANARY, {"texts.yaml": FIRST}, {"texts.yaml": SECOND}),
}


@pytest.mark.parametrize(("sections", "before", "after"), LATER.values(), ids=LATER)
@pytest.mark.parametrize("place", ["absolute", "relative"])
def test_a_file_that_the_configuration_names_is_followed_wherever_that_lies(
    sections: dict[str, Any], before: Any, after: Any, place: str, start_gateway: Callable[..., Any], tmp_path: Path
) -> None:
    tree = {"providers": {"passthrough": {}, "cohere": {"api_key": "k", "base_url": "http://127.0.0.1:9"}}, **sections}
    Mount(tmp_path / "config", {"gateway.yaml": yaml.safe_dump(tree)})
    secret = Mount(tmp_path / "secret", before)
    path = tmp_path / "config" / "gateway.yaml"
    # The gateway starts in a folder beside that of the test.
    name = str(path) if place == "absolute" else os.path.relpath(path, tmp_path.parent / "gateway0")
    gateway = start_gateway(None, "--config", name)
    gateway.wait_until_ready()
    secret.swap(after)
    gateway.wait_for("was reloaded")


@pytest.mark.parametrize("swap", SWAPS.values(), ids=SWAPS)
def test_a_swap_is_in_force_soon(swap: Swap, start_gateway: Callable[..., Any], tmp_path: Path) -> None:
    mounts = {name: Mount(tmp_path / name, volume(swap.before, name)) for name in ("config", "secret")}
    gateway = start_gateway(None, "--config", str(mounts["config"].path("gateway.yaml")))
    gateway.wait_until_ready()
    assert swap.seen(gateway.url) == swap.at_first
    for name, mount in mounts.items():
        if files := volume(swap.after, name):
            mount.swap(files)
    gateway.wait_for("was reloaded")
    assert swap.seen(gateway.url) == swap.at_last


def test_a_swap_with_a_mistake_changes_nothing_and_the_next_one_mends_it(
    start_gateway: Callable[..., Any], tmp_path: Path
) -> None:
    mount = Mount(tmp_path / "config", {"gateway.yaml": gateway_yaml("one")})
    gateway = start_gateway(None, "--config", str(mount.path("gateway.yaml")))
    gateway.wait_until_ready()
    mount.swap({"gateway.yaml": "modls: {}\n"})
    gateway.wait_for("was not reloaded")
    assert aliases(gateway.url) == {"one"}
    mount.swap({"gateway.yaml": gateway_yaml("two")})
    gateway.wait_for("was reloaded")
    assert aliases(gateway.url) == {"two"}


class Authority:
    """Who signs a gateway's certificate and its callers'."""

    def __init__(self) -> None:
        self.ca = trustme.CA()
        issued = self.ca.issue_cert("127.0.0.1")
        self.files: dict[str, str | bytes] = {
            "tls.crt": b"".join(blob.bytes() for blob in issued.cert_chain_pems),
            "tls.key": issued.private_key_pem.bytes(),
            "ca.crt": self.ca.cert_pem.bytes(),
        }

    def knows(self, url: str) -> bool:
        """Whether the gateway shows a certificate of this authority, and takes a caller's."""
        context = ssl.create_default_context()
        self.ca.configure_trust(context)
        self.ca.issue_cert("caller").configure_cert(context)
        try:
            return httpx.get(f"{url}/livez", verify=context, trust_env=False).status_code == 200
        except httpx.TransportError:
            return False


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("mutual", [False, True], ids=["tls", "mutual tls"])
def test_a_renewed_certificate_is_shown_without_a_restart(
    workers: int, mutual: bool, start_gateway: Callable[..., Any], tmp_path: Path
) -> None:
    first, second = Authority(), Authority()
    mount = Mount(tmp_path / "tls", first.files)
    tls = {"cert": str(mount.path("tls.crt")), "key": str(mount.path("tls.key"))}
    if mutual:
        tls["client_ca"] = str(mount.path("ca.crt"))
    settings = {"providers": {"passthrough": {}}, "server": {"tls": tls, "workers": workers}}
    gateway = start_gateway(settings)
    gateway.wait_until_ready()
    assert [first.knows(gateway.url), second.knows(gateway.url)] == [True, False]

    # A key that is not that of the certificate: the previous pair stays.
    mount.swap({**second.files, "tls.key": first.files["tls.key"]})
    assert [first.knows(gateway.url), second.knows(gateway.url)] == [True, False]

    mount.swap(second.files)
    # With several workers any of them answers; each looks for itself.
    assert [authority.knows(gateway.url) for authority in [first, second] * 4] == [False, True] * 4


def test_certificates_for_upstreams_follow_a_swap(tmp_path: Path) -> None:
    first, second = Authority(), Authority()
    mount = Mount(tmp_path / "tls", first.files)
    files = TlsFiles(str(mount.path("ca.crt")), str(mount.path("tls.crt")), str(mount.path("tls.key")))
    before = files.context()
    assert files.context() is before
    mount.swap(second.files)
    after = files.context()
    assert after is not before
    assert len(after.get_ca_certs()) == len(before.get_ca_certs())
    assert {cert["serialNumber"] for cert in after.get_ca_certs()} != {
        cert["serialNumber"] for cert in before.get_ca_certs()
    }
