#!/usr/bin/env bash
# Runs suites of tests with their set-up and prints how long each took:
#
#   hack/test.sh SUITE...     lint verify unit apiserver attack netns envoy cluster
#
# CORPUS and CRDS may name folders with public manifests and CRDs to compare with; without them these parts are left out, loudly.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
devcluster() { go run ./test/cluster/cmd/devcluster "$@"; }

lint() {
  local lint=.cache/bin/golangci-lint
  local want; want=$(awk '$1 == "github.com/golangci/golangci-lint/v2" {print $2}' hack/tools/lint/go.mod)
  if [ "$("$lint" version --short 2>/dev/null)" != "${want#v}" ]; then
    (cd hack/tools/lint && go build -ldflags "-X main.version=${want#v}" -o "../../../$lint" github.com/golangci/golangci-lint/v2/cmd/golangci-lint)
  fi
  "$lint" run ./...
}
verify() { hack/tools/generate.sh verify && go mod verify >/dev/null; }
unit() { go test ./api/... ./pkg/... ./controllers/... ./test/cluster/... ./test/corpus/... ./test/echo/... ./test/random/... ./test/fields/... ./test/injection/... ./test/promises/...; }
apiserver() { devcluster install && go test ./test/apiserver/... && CRDS="${CRDS:-}" go test ./test/crds/... ./test/webhook/... ./test/lifetime/...; }
attack() { devcluster install && go test -count=1 ./test/attack/...; }
netns() { devcluster install && devcluster envoy 1.40.0 1.37.0 && go test -count=1 ./test/netns/... ./test/replicas/...; }
envoy() { devcluster envoy 1.40.0 1.38.3 1.37.0 && go test -count=1 ./test/envoy/...; }
# A choice of cases, of every kind; the whole collection is `make test-corpus`.
cases=(howto-k8s-alb howto-k8s-egress howto-k8s-grpc howto-k8s-http2 eks-getting-started djapp-canary argo-rollouts-e2e
  argo-rollouts-route-types ctrl-admission-routes ctrl-it-gatewayroute ctrl-it-lifecycle howto-k8s-http-ingress-v2
  howto-k8s-mtls-file-based howto-k8s-tls-acm blog-multi-account-spire ctrl-docs-backend-groups ctrl-docs-injector)
cluster() {
  go run ./test/demo --quick || return
  go run ./test/injection/cmd/injection || return
  go run ./test/names || return
  go run ./test/corpus/cmd/corpus --corpus test/corpus/testdata || return
  if [ -z "${CORPUS:-}" ]; then
    echo "SKIPPED: the cases of real manifests are NOT run; give their folder as CORPUS=DIR" >&2
    return
  fi
  go run ./test/corpus/cmd/corpus --corpus "$CORPUS" "${cases[@]/#/--case=}"
}

failed=()
summary=()
for suite in "$@"; do
  echo "=== $suite"
  start=$SECONDS
  if "$suite"; then result=ok; else result=FAILED; failed+=("$suite"); fi
  summary+=("$(printf '%-10s %-7s %4d s' "$suite" "$result" $((SECONDS - start)))")
done
echo "=== summary"
printf '%s\n' "${summary[@]}"
echo "$(($# - ${#failed[@]})) passed, ${#failed[@]} failed"
[ ${#failed[@]} -eq 0 ]
