#!/usr/bin/env bash
# Everything that the project tests. What it needs is installed and built by make; nothing needs to run. Steps that share
# nothing run side by side; each step's output is shown in one piece when the step ends. The first that fails ends the run.
set -euo pipefail
cd "$(dirname "$0")/.."
. deploy/steps/steps.sh

engine() { step "Docker's engine" deploy/docker.sh; }
fresh() { step "generated code is fresh" deploy/fresh.sh; }

images() { step "images of the services" deploy/compose/test.sh images; }
code() {
	step "lint" make -s lint
	step "secrets in the history" make -s vuln-offline
	step "unit tests" make -s unit
}

# What measures time, or needs bridges and nftables, has the machine for itself.
whole() {
	step "drivers and the guest, on real QEMU" gotest slipway.dev/services/node/... slipway.dev/deploy/guest
	step "an installation whose connections fail, and failovers of its database and bus" gotest slipway.dev/deploy/chaos slipway.dev/deploy/ha
	step "whole stacks, over HTTP" gotest -timeout 45m slipway.dev/deploy/e2e
	step "every service in a container of its own" deploy/compose/test.sh single ha libvirt
}
gotest() { bin/gotest -count=1 -tags libvirt_dlopen,e2e "$@"; }

abreast engine fresh
abreast images code # after fresh, which writes files that images are made of
abreast whole
summary
