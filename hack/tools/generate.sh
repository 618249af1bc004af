#!/usr/bin/env bash
# Generates what follows from the Go types: deep copies, CRDs and the reference of the kinds.
#
#   hack/tools/generate.sh           writes the generated files
#   hack/tools/generate.sh verify    fails, with a diff, if they are not what the types say
#
# The generator is pinned in hack/tools/go.mod, apart from the product's own dependencies.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root"

generate() { # $1: folder that receives the CRDs, $2: folder with one folder per API version that receives the deep copies
  local generator=(go tool -modfile=hack/tools/go.mod controller-gen) version
  for version in v1alpha1 v1beta2; do
    mkdir -p "$2/$version"
    "${generator[@]}" object "paths=./api/$version" "output:object:dir=$2/$version"
  done
  "${generator[@]}" crd paths=./api/... "output:crd:dir=$1"
}

document() { go run ./test/fields/cmd/fields --docs "$1"; }

case "${1:-write}" in
write)
  generate config/crd/bases api
  document docs
  ;;
verify)
  fresh=$(mktemp -d)
  trap 'rm -rf "$fresh"' EXIT
  mkdir "$fresh/crd" "$fresh/api"
  generate "$fresh/crd" "$fresh/api"
  document "$fresh/docs"
  ok=true
  diff -ru docs/reference "$fresh/docs/reference" && diff -u docs/compatibility.md "$fresh/docs/compatibility.md" || ok=false
  diff -ru config/crd/bases "$fresh/crd" || ok=false
  for version in v1alpha1 v1beta2; do
    diff -u "api/$version/zz_generated.deepcopy.go" "$fresh/api/$version/zz_generated.deepcopy.go" || ok=false
  done
  if ! $ok; then
    echo "generated files are stale: run make generate" >&2
    exit 1
  fi
  ;;
*)
  echo "usage: $0 [write|verify]" >&2
  exit 2
  ;;
esac
