"""Replicas as a deployment of Ray Serve: the only module that imports Ray.

`build` is the builder that Serve's YAML names (`rerank-gateway ray` writes it). How many replicas there are and what
each gets stands there too; here is only what one is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ray import serve

from gateway.ray_serve.files import DEPLOYMENT
from gateway.ray_serve.replica import Replica
from gateway.telemetry import logs


class Replicas:
    """One replica, as Serve calls it.

    Args:
        path: of the gateway's configuration, on the host that the replica runs on.
        provider: the local provider in it.
    """

    def __init__(self, path: str, provider: str) -> None:
        instance = serve.get_replica_context().replica_id.to_full_id_str()
        self._replica = Replica(path, provider, instance)
        # The process is Ray's, and only this replica's.
        logs.configure(self._replica.config.telemetry.logs)

    async def __serve_build_asgi_app__(self) -> Any:  # Serve's own name for it.
        # Here an error's sentence gets into the deployment's status. From the lifespan it would not.
        await self._replica.open()
        replica = self._replica

        # A function, since a bound method would be taken for an application of ASGI 2.
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await replica(scope, receive, send)

        return app

    async def check_health(self) -> None:
        """Raises NotReady, and Serve replaces the replica, if its engine is dead or its device fails."""
        await self._replica.check()

    def record_autoscaling_stats(self) -> dict[str, float]:
        """What `gateway.ray_serve.autoscaling` decides by."""
        return self._replica.load()


def build(arguments: Mapping[str, str]) -> Any:
    """The application of one local provider.

    Args:
        arguments: `config`, the path of the gateway's configuration; `provider`, the provider's name in it. Others are
            for Serve, which starts new replicas when one of them changes.
    """
    deployment = serve.deployment(serve.ingress()(Replicas), name=DEPLOYMENT)
    return deployment.bind(arguments["config"], arguments["provider"])
