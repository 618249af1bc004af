# Included by the Makefile: what follows from the Go types of api/.

.PHONY: generate
generate: ## write deep copies and CRDs from the Go types
	hack/tools/generate.sh

.PHONY: verify-generated
verify-generated: ## fail if generated files are not what the Go types say
	hack/tools/generate.sh verify

.PHONY: test-crds
test-crds: ## compare our CRDs with the reference CRDs of the folder CRDS=DIR
	@test -n "$(CRDS)" || echo "SKIPPED: the reference CRDs are NOT compared; give their folder as CRDS=DIR" >&2
	CRDS="$(if $(CRDS),$(abspath $(CRDS)))" go test ./test/crds/...
