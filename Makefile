# Every target installs what it needs: tools are pinned, built once, and kept in a cache outside the checkout.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
CARGO ?= cargo

.PHONY: help demo test test-unit cluster cluster-stop tools lint generate golden fmt bench bench-cost fuzz

help: ## Says what the targets do
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | column -t -s $$'\t'

tools: ## Builds the control plane and installs the Envoys for demo and tests (6 minutes the first time, then at once)
	@tools/control-plane/build.sh >/dev/null
	@tools/envoy/install.sh >/dev/null
	@tools/prometheus/install.sh >/dev/null
	@tools/opentelemetry-sdk/install.sh >/dev/null

demo: tools ## Runs the main job from kubectl apply to a restarted agent; DEMO_SEED=n varies it, DEMO_CLUSTER=context uses your cluster
	@$(CARGO) build --quiet --bin sightline --example demo
	@$(CARGO) run --quiet --example demo

test: tools ## Runs every test
	@# The collectors that tests run (5 minutes the first time) are built beside the tests.
	@tools/collector/build.sh >/dev/null & collectors=$$!; $(CARGO) test --quiet --workspace --no-run; wait "$$collectors"
	@tools/test.sh

cluster: tools ## Starts a control plane and leaves it running
	@$(CARGO) run --quiet --example cluster

cluster-stop: ## Stops the one that runs in DIR
	@$(CARGO) run --quiet --example cluster -- stop "$(DIR)"

lint: ## Checks formatting, clippy, licences and bans of dependencies
	@tools/lint.sh

generate: ## Writes config/crd, config/rbac, docs/reasons.md, docs/lint and the chart's copies, rules, flags and schema from the code
	@SIGHTLINE_GENERATE=1 $(CARGO) test --quiet --test generated

golden: tools ## Writes what tests/render, tests/explain, tests/chart, tests/format, tests/lint and tests/e2e record anew; review is the diff
	@SIGHTLINE_UPDATE=1 $(CARGO) test --quiet --test render every_case_comes_out_as_recorded
	@SIGHTLINE_UPDATE=1 $(CARGO) test --quiet --test explain every_sample_is_explained_as_recorded
	@SIGHTLINE_UPDATE=1 $(CARGO) test --quiet --test format recorded
	@SIGHTLINE_UPDATE=1 $(CARGO) test --quiet --test lint recorded
	@SIGHTLINE_UPDATE=1 $(CARGO) test --quiet --test chart every_case_is_linted_by_helm_and_rendered_as_recorded
	@SIGHTLINE_UPDATE=1 $(CARGO) test --quiet --test e2e collector::

bench: ## Measures the compiler of formats beside serde_json, and lint beside the YAML parser: docs/benchmarks.md
	@$(CARGO) bench --bench format --bench lint

bench-cost: ## Measures what operators cost the real Envoy and writes src/format/cost.tsv: docs/cost.md (5 minutes)
	@tools/envoy/install.sh >/dev/null
	@$(CARGO) bench --quiet --profile dev --bench cost

fuzz: ## Fuzzes the compiler of formats and lint's places in YAML, each target for SECONDS_EACH (10)
	@tools/fuzz.sh $(SECONDS_EACH)

fmt: ## Formats the code
	@$(CARGO) fmt
