#!/usr/bin/env bash
# The long form of the reliability tests: every crash point 25 times, ten minutes of killed components, faults and seeds on
# a large scale. make test has the short form of each. ROUNDS repeats the whole with new seeds.
set -euo pipefail
cd "$(dirname "$0")/.."
export SLIPWAY_CHAOS=1

for round in $(seq "${ROUNDS:-1}"); do
	printf '\n== round %s, simulated time (%s)\n' "$round" "$(date +%T)"
	go test -count=1 -timeout 60m -v -run 'TestChance$' slipway.dev/services/vm/internal/simulate -args -seeds 10000 -first "$((RANDOM * 10000 + 1))"
	go test -count=1 -timeout 60m -run 'TestChance$' slipway.dev/services/node/internal/simulate -args -seeds 10000
	printf '\n== round %s, any text comes back as it went in, or is refused (%s)\n' "$round" "$(date +%T)"
	go test -count=1 slipway.dev/services/node/internal/seed -run . -rapid.checks=100000
	go test -count=1 slipway.dev/services/node/internal/libvirt -run StringsStay -rapid.checks=5000
	printf '\n== round %s, addresses and keys that all want at once, random filters (%s)\n' "$round" "$(date +%T)"
	go test -count=1 -timeout 60m slipway.dev/services/ip slipway.dev/deploy/hostile slipway.dev/pkg/query
	printf '\n== round %s, every mistake that can be planted in the core packages (%s)\n' "$round" "$(date +%T)"
	make mutants N=1000000
	printf '\n== round %s, faults (%s)\n' "$round" "$(date +%T)"
	go test -count=1 -tags libvirt_dlopen,e2e -timeout 60m -v slipway.dev/deploy/chaos
	printf '\n== round %s, crash points and killed components (%s)\n' "$round" "$(date +%T)"
	go test -count=1 -tags libvirt_dlopen,e2e -timeout 6h -v -run 'TestCrashPoints|TestKilledComponents' slipway.dev/deploy/e2e
done
