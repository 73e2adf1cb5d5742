#!/usr/bin/env bash
# Everything that the project tests. What it needs is installed and built by make; nothing needs to run.
set -euo pipefail
cd "$(dirname "$0")/.."

step() { printf '\n== %s (%s)\n' "$1" "$(date +%T)"; }

step "Docker's engine"
deploy/docker.sh >/dev/null # without it the last step could not be done

step "generated code is fresh"
before=$(git status --porcelain -- proto; git diff -- proto)
make -s gen
after=$(git status --porcelain -- proto; git diff -- proto)
[ "$before" = "$after" ] || { echo "make gen changes files: commit what it makes" >&2; git status --short -- proto >&2; exit 1; }

step "lint"
make -s lint

step "secrets in the history"
make -s vuln-offline

step "unit tests"
go test work

step "any text comes back as it went in, or is refused"
go test -count=1 slipway.dev/services/node/internal/seed -run . -rapid.checks=100000
go test -count=1 slipway.dev/services/node/internal/libvirt -run StringsStay -rapid.checks=5000

step "drivers and the guest, on real QEMU"
go test -count=1 -tags libvirt_dlopen,e2e slipway.dev/services/node/... slipway.dev/deploy/guest

step "an installation whose connections fail"
go test -count=1 -tags libvirt_dlopen,e2e slipway.dev/deploy/chaos

step "whole stacks, over HTTP"
go test -count=1 -tags libvirt_dlopen,e2e -timeout 20m slipway.dev/deploy/e2e

step "every service in a container of its own"
deploy/compose/test.sh
