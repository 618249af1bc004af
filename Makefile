# Targets of the repository; `make help` lists them. The first two of the README are `make demo` and `make test`.

SHELL := /bin/bash
.DEFAULT_GOAL := help

# One way of building everything, so that nothing is compiled twice: most packages are in the cluster's programs too.
export CGO_ENABLED := 0
export GOFLAGS := -trimpath

VERSION ?= v0.1.0-dev
BIN := .cache/bin
GO_LDFLAGS := -s -w -X github.com/aftermesh/aftermesh/pkg/cli.Version=$(VERSION)

include hack/make/cluster.mk
include hack/tools/generate.mk

.PHONY: help
help: ## List the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build the binary for this machine into .cache/bin
	@mkdir -p $(BIN)
	go build -ldflags "$(GO_LDFLAGS)" -o $(BIN)/aftermesh .

.PHONY: image
image: build cluster-up ## Build the image from the binary and load it into the one-node cluster
	@$(DEVCLUSTER) image static $(BIN)/aftermesh --name aftermesh/aftermesh:dev

.PHONY: demo
demo: ## From a bare machine to a running mesh with a canary, in one command
	@go run ./test/demo $(if $(IMAGE),--kubeconfig "$(KUBECONFIG)" --image "$(IMAGE)")

.PHONY: demo-down
demo-down: cluster-down ## Remove the demo and its cluster

.PHONY: test
test: ## Everything, with its set-up: lint, unit, API server, Envoy, cluster
	@hack/test.sh lint verify unit apiserver attack netns envoy cluster

.PHONY: test-unit
test-unit: ## Pure tests, offline, under a minute
	@hack/test.sh unit

.PHONY: test-apiserver
test-apiserver: ## Tests against a real API server
	@hack/test.sh apiserver

.PHONY: test-attack
test-attack: ## Attack the operator, in a memory cage, as a tenant or a stranger would (root)
	@hack/test.sh attack

.PHONY: test-envoy
test-envoy: ## Tests against real Envoys
	@hack/test.sh netns envoy

.PHONY: test-cluster
test-cluster: ## Tests in the one-node cluster
	@hack/test.sh cluster

.PHONY: test-injection
test-injection: ## Send a pod for every annotation, label and flag through the operator of the one-node cluster
	@go run ./test/injection/cmd/injection $(ARGS)

.PHONY: test-corpus
test-corpus: ## Run cases of real manifests in the cluster: CORPUS=DIR [CASE=name]
	@test -n "$(CORPUS)" || { echo "CORPUS=DIR says where the cases are" >&2; exit 2; }
	@go run ./test/corpus/cmd/corpus --corpus "$(CORPUS)" $(foreach c,$(CASE),--case $(c))

.PHONY: golden
golden: ## Accept what the golden tests produce now; review the diff
	go test ./pkg/pipeline ./pkg/inject -update

.PHONY: fields
fields: ## Count the fields of the API that a golden file would miss
	@go run ./test/fields/cmd/fields

.PHONY: steady
steady: ## Count requests lost while the mesh changes and while Flagger and Argo Rollouts work: [ARGS="--scenario changes"]
	@go run ./test/steady $(ARGS)

FUZZTIME ?= 1m
# An input is a page of manifests and takes milliseconds; to make each new one as small as possible would take all of the time.
FUZZ := -run '^$$' -fuzztime $(FUZZTIME) -fuzzminimizetime 10x

.PHONY: fuzz
fuzz: ## Look for input that breaks something, FUZZTIME=1m for each target; what is found is kept as a test
	go test ./test/random $(FUZZ) -fuzz FuzzManifests
	go test ./test/random $(FUZZ) -fuzz FuzzSets
	go test ./pkg/admission $(FUZZ) -fuzz FuzzWebhooks

.PHONY: attack
attack: ## The same for a minute each, which is the bar of the project
	go test -count=1 -timeout 30m -v ./test/attack -each 60s -bar 100ms

.PHONY: lint
lint: ## Check style and the import arrows
	@hack/test.sh lint

.PHONY: verify
verify: ## Generate, and fail if anything differs from what is committed
	@hack/test.sh verify

.PHONY: bench-sidecar
bench-sidecar: ## Measure what a proxy costs a pod: injection, start, memory
	@go run ./test/sidecar $(ARGS)

.PHONY: bench
bench: ## Measure: one route changed, 300 services, 600 delta streams
	@go run ./test/bench
