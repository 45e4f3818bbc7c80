"""What the operator sees: spans, metrics, the request log and the status.

The endpoint tells `observer.Telemetry` when a request begins and ends. Everything else is made at the end of the
request, from one record of it, the `exchange.Exchange`. `metrics` declares and counts the metrics; `names` holds the
names of spans, attributes and headers. OpenTelemetry's SDK is imported by `traces`, `push` and `setup` only, and only
when an exporter is configured.
"""
