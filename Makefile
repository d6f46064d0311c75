# Every target runs in a virtual environment in .venv, which the first one makes from requirements.lock, by hash.
# Only Python 3.11 or later and make must be installed.

VENV ?= .venv
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := $(VENV)/bin
# What reads alerts, with versions that ours could not live with.
OTHERS ?= .venv-others
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo test lint format types unit kafka-test monitor-test browser-test page-picture night chaos fuzz mutants train-test others-test observers-night install-test versions-test report-forward line-depths target-yield report docs docs-test deploy-check train-setup wheel sbom audit lock clean

help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' $(MAKEFILE_LIST) | while IFS='|' read -r name what; do \
		printf '%-14s %s\n' "$$name" "$$what"; done

demo: $(VENV)/.project ## A simulated night on its own broker; ARGS="--files FOLDER" adds yours
	$(BIN)/cempstream demo $(ARGS)

test: about lint types unit ## Lint, types and all tests that need neither Apache Kafka nor torch

.PHONY: about
about:
	@echo "lint, types and tests: about five minutes on two quiet cores, longer where they are busy"

lint: $(VENV)/.project ## ruff check and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.project ## Fix what ruff can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(VENV)/.project ## mypy --strict
	$(BIN)/mypy

# Most of these tests wait for processes they start, so five at a time keep two cores busy.
JOBS ?= 5
unit: $(VENV)/.project
	$(BIN)/pytest -n $(JOBS) --dist worksteal -m "not kafka and not chaos and not browser and not train and not docs and not install and not others" \
		--ignore tests/chaos --ignore tests/browser --ignore tests/train $(ARGS)

kafka-test: $(VENV)/.project ## Tests on Apache Kafka and a schema registry (needs Java 17 and, once, Maven)
	tests/broker/install_kafka.sh
	tests/broker/install_registry.sh
	$(BIN)/pytest -n $(JOBS) --dist loadfile tests/broker tests/flow tests/contract \
		-m "kafka and not chaos and not install" $(ARGS)

monitor-test: $(VENV)/.project ## Prometheus on a worker on Apache Kafka, and the cases of every alert
	tests/broker/install_kafka.sh
	$(BIN)/pytest tests/monitor -m "kafka" $(ARGS)

browser-test: $(VENV)/.project ## The candidates' page in Chromium, on Apache Kafka (needs chromium and chromedriver)
	tests/broker/install_kafka.sh
	$(BIN)/pytest tests/browser -m "browser" $(ARGS)

NIGHT ?= night.jsonl
page-picture: $(VENV)/.project ## Draw docs/images/page.png from a saved night (NIGHT=file; needs chromium and chromedriver)
	$(BIN)/python -m tests.browser.picture $(NIGHT) docs/images/page.png

night: $(VENV)/.project ## A simulated night under Prometheus, on one picture (needs prometheus on the PATH)
	$(BIN)/cempstream night $(ARGS)

chaos: $(VENV)/.project ## Break worker, broker, network and disk, and count every spectrum
	tests/broker/install_kafka.sh
	$(BIN)/pytest tests/chaos -m "chaos" $(ARGS)

FUZZ_S ?= 60
FUZZ_N ?= 1000000
fuzz: $(VENV)/.fuzz ## Fuzz decoders and file readers for FUZZ_S seconds each, and read FUZZ_N mutated packets
	$(BIN)/python -m tests.fuzz.guided packets --seconds $(FUZZ_S)
	$(BIN)/python -m tests.fuzz.guided files --seconds $(FUZZ_S)
	$(BIN)/python -m tests.fuzz.million --n $(FUZZ_N)

MUTANTS ?= 60
mutants: $(VENV)/.mutants ## Change MUTANTS lines one at a time; the modules' own tests must notice nine in ten
	$(BIN)/python -m tests.mutants --n $(MUTANTS) --least 90 $(ARGS)

train-test: $(VENV)/.train ## Tests of training (installs torch)
	$(BIN)/pytest -m "train" $(ARGS)

others-test: $(VENV)/.project $(OTHERS)/.packages ## Alerts as others read them: a TOM, voevent-parse, GCN's schemas (needs npm)
	tests/broker/install_kafka.sh
	CEMP_OTHERS=$(abspath $(OTHERS)) $(BIN)/pytest tests/others -m "others" $(ARGS)

observers-night: $(VENV)/.project $(OTHERS)/.packages ## A night with page, VOEvents, TOM and target list
	$(BIN)/python -m tests.others.observers_night --others $(OTHERS) $(ARGS)

install-test: $(VENV)/.project ## The wheels in empty environments, a closed network, and kcat
	$(BIN)/pytest tests/broker tests/contract -m "install" $(ARGS)

versions-test: $(VENV)/.project ## Installs at the lowest and highest versions allowed, for each Python found here
	$(BIN)/pytest -n 2 tests/install -m "install" $(ARGS)

REAL ?= ../shared/data/real
report-forward: $(VENV)/.project ## Compare computed with observed spectra (REAL=folder), a page in runs/forward
	$(BIN)/python -m cempstream.models.evaluation.forward_page --real $(REAL) --out runs/forward $(ARGS)

line-depths: $(VENV)/.project ## Measure strong lines of real stars against the emulator (REAL=folder) into runs/line-depths
	$(BIN)/python -m cempstream.models.evaluation.line_depths --real $(REAL) --out runs/line-depths $(ARGS)

YIELD_N ?= 80000
EACH ?= 60
target-yield: $(VENV)/.project ## Compare plans of four hours with other ways, EACH alerts a night, from YIELD_N spectra
	$(BIN)/python -m cempstream.streams.rehearsal.alert_pool --n $(YIELD_N) --out runs/yield
	$(BIN)/cempstream targets --from runs/yield/alerts.jsonl --tense test --compare runs/yield/truth.csv --each $(EACH) \
		--site "Mauna Kea" --night 2027-01-10 --hours 4 --instrument echelle-8m --question ba $(ARGS)
	$(BIN)/cempstream targets --from runs/yield/alerts.jsonl --tense test --compare runs/yield/truth.csv --each $(EACH) \
		--site "Cerro Pachon" --night 2027-01-10 --hours 4 --instrument goodman-soar --question cfe $(ARGS)

BUNDLE ?= mid
report: $(VENV)/.train ## Evaluate BUNDLE on simulated nights and the real sky (REAL=folder), a page in runs/report
	$(BIN)/cempstream evaluate --bundle $(BUNDLE) --real $(REAL) --out runs/report $(ARGS)

SITE ?= site
docs: $(VENV)/.docs ## Build the documentation into site/ and run its notebooks
	PATH="$(abspath $(BIN)):$$PATH" NO_MKDOCS_2_WARNING=1 EXECUTE_NOTEBOOKS=true \
		$(BIN)/mkdocs build --strict --site-dir $(abspath $(SITE))

docs-test: $(VENV)/.docs ## Tests of the documentation: it builds, its tutorials run, its pages fetch nothing
	$(BIN)/pytest -m "docs" --ignore tests/train $(ARGS)

deploy-check: $(VENV)/.project ## Check manifests, boards and Dockerfile (Kubernetes, Grafana, hadolint)
	$(BIN)/uv run --no-project deploy/validate.py

train-setup: $(VENV)/.train ## Add torch to the environment

wheel: $(VENV)/.project ## Build the two wheels of a release into dist/: the package, and its models
	CEMPSTREAM_RELEASE=1 $(PIP) wheel --no-deps --no-build-isolation --wheel-dir dist . ./models

LOCKS = deploy/requirements-cpu.lock deploy/requirements-gpu.lock

sbom: $(VENV)/.audit ## List what the images hold, as CycloneDX in dist/
	@mkdir -p dist
	$(foreach lock,$(LOCKS),$(BIN)/cyclonedx-py requirements $(lock) --output-reproducible --of JSON \
		-o dist/sbom-$(patsubst deploy/requirements-%.lock,%,$(lock)).json &&) true

audit: $(VENV)/.audit ## Ask for known vulnerabilities of what the images hold
	$(BIN)/python deploy/audit.py $(LOCKS)

lock: $(VENV)/.project ## Renew the lock files from pyproject.toml
	$(call lock,requirements.lock,--extra dev)
	$(call lock,requirements-train.lock,--extra dev --extra train)
	$(call lock,requirements-fuzz.lock,--extra dev --extra fuzz)
	$(call lock,requirements-mutants.lock,--extra dev --extra mutants)
	$(call lock,requirements-docs.lock,--extra dev --extra docs)
	$(call compile,requirements-others.lock,pyproject.toml tests/others/requirements.in)
	printf 'cyclonedx-bom\npip-audit\n' | $(call compile,requirements-audit.lock,--constraint requirements.lock -)
	$(call compile,deploy/requirements-cpu.lock,--extra cpu --extra registry --constraint requirements.lock pyproject.toml)
	$(call compile,deploy/requirements-gpu.lock,--extra gpu --extra registry --constraint requirements.lock pyproject.toml)
	echo hatchling | $(call compile,deploy/requirements-build.lock,--constraint requirements.lock -)

clean: ## Remove the environment and what was built
	rm -rf $(VENV) $(OTHERS) dist build site demo-output night-output observers-night

# One resolution for every Python from 3.11 on and every platform.
define compile
$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-annotate --custom-compile-command "make lock" --output-file $(1) $(2)
endef

# With hatchling and editables, which build the project.
define lock
printf 'hatchling\neditables\n' | $(call compile,$(1),$(2) pyproject.toml -)
endef

$(VENV)/.packages: requirements.lock
	@test -n "$(PYTHON)" || { echo "cempstream needs Python 3.11 or later; give it with PYTHON=..." >&2; exit 1; }
	@echo "making $(VENV) with $(PYTHON); the first time takes a minute or two"
	@$(PYTHON) -m venv --clear $(VENV) || { \
		echo "$(PYTHON) cannot make environments: install its venv package (Debian: python3-venv)" >&2; exit 1; }
	$(PIP) install --no-compile --require-hashes --requirement requirements.lock
	@touch $@

$(VENV)/.project: $(VENV)/.packages pyproject.toml
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.train: $(VENV)/.project requirements-train.lock
	$(PIP) install --no-compile --require-hashes --requirement requirements-train.lock
	@touch $@

$(VENV)/.fuzz: $(VENV)/.project requirements-fuzz.lock
	$(PIP) install --no-compile --require-hashes --requirement requirements-fuzz.lock
	@touch $@

$(VENV)/.mutants: $(VENV)/.project requirements-mutants.lock
	$(PIP) install --no-compile --require-hashes --requirement requirements-mutants.lock
	@touch $@

$(VENV)/.docs: $(VENV)/.project requirements-docs.lock
	$(PIP) install --no-compile --require-hashes --requirement requirements-docs.lock
	@touch $@

$(VENV)/.audit: $(VENV)/.project requirements-audit.lock
	$(PIP) install --no-compile --require-hashes --requirement requirements-audit.lock
	@touch $@

# With the base install's packages and not ours, which tests run from the checkout as a TOM would.
$(OTHERS)/.packages: $(VENV)/.project requirements-others.lock tests/others/voevent-parse.txt tests/others/gcn/package-lock.json
	$(BIN)/python -m venv --clear $(OTHERS)
	$(BIN)/uv pip install --quiet --python $(OTHERS)/bin/python --require-hashes \
		--build-constraints requirements-others.lock --requirement requirements-others.lock
	$(OTHERS)/bin/python -m pip --disable-pip-version-check --quiet install --no-deps --no-build-isolation \
		--require-hashes --requirement tests/others/voevent-parse.txt
	mkdir -p $(OTHERS)/gcn
	cp tests/others/gcn/package.json tests/others/gcn/package-lock.json $(OTHERS)/gcn
	cd $(OTHERS)/gcn && npm ci --ignore-scripts --no-audit --no-fund --silent
	@touch $@
