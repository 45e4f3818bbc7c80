"""What the operator sees: spans, metrics, the request log and the status.

The endpoint tells `observer.Telemetry` when a request begins and ends; everything else is made at its end from one
record, the `exchange.Exchange`. `names` holds every name. OpenTelemetry's SDK is imported by `traces.setup` and
`push.setup` only, when an exporter is configured.
"""
