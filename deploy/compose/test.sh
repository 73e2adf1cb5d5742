#!/usr/bin/env bash
# Builds the images, runs the stack under docker compose and the end-to-end suite against it; the same with two replicas of
# everything, restarted one after the other under load; the same with real machines. Everything it made is removed, the
# images are kept.
#
#   test.sh [images] [single] [ha] [libvirt]     all without arguments; images alone: nothing is started
set -euo pipefail
cd "$(dirname "$0")/../.."
[ $# -gt 0 ] || set -- single ha libvirt

step() { printf '\n-- %s (%s, after %d s)\n' "$1" "$(date +%T)" $SECONDS; }
wanted() { [[ " $stages " == *" $1 "* ]]; }
stages=$*

step "Docker"
compose=$(deploy/docker.sh)

step "base images"
deploy/packages.sh mmdebstrap
deploy/images/offline/build.sh

# Of this clone alone: another one may be tested beside it. Two runs in one clone wait for each other.
mkdir -p bin
exec 9>bin/.compose-test
flock 9
id=$(printf '%s' "$PWD" | cksum | cut -d ' ' -f 1)
export COMPOSE_PROJECT_NAME=slipway-test-$id SLIPWAY_TAG=test-$id SLIPWAY_ADMIN_PASSWORD=e2e-Password-1 SLIPWAY_LOG=info
export SLIPWAY_PORT=0 SLIPWAY_EDGE_PORT=0 SLIPWAY_PROMETHEUS_PORT=0 # any that is free
export SLIPWAY_E2E_PASSWORD=$SLIPWAY_ADMIN_PASSWORD SLIPWAY_E2E_PROJECT=$COMPOSE_PROJECT_NAME
# Where this machine gets Go modules from, builds get them too.
for name in GOPROXY GOSUMDB; do
	[ -n "${!name:-}" ] || [ -z "$(go env -changed $name)" ] || export "$name=$(go env $name)"
done
work=$(mktemp -d)
log=$work/log
tests=$work/tests
env=deploy/compose/single.env

# ended CODE: cleans up at the end. After a failure it shows the logs of the containers.
ended() {
	[ "$1" = 0 ] || $compose --env-file "$env" logs --tail 40 >&2 || true
	down
	rm -rf "$work"
}
trap 'ended $?' EXIT
down() { $compose --env-file "$env" down --volumes --timeout 5 >/dev/null 2>&1 || true; }
# at SERVICE PORT: the URL of a port of a container, for which Docker chose one of this machine.
at() { echo "http://$($compose --env-file "$env" port "$1" "$2")"; }
# up ENVFILE SERVICE: the stack, from nothing to healthy; its clients ask this service. What went wrong is shown.
up() {
	env=$1
	down
	local start=$SECONDS
	if ! $compose --env-file "$env" up --detach --wait --wait-timeout 300 >/dev/null 2>"$log"; then
		tail -n 20 "$log" >&2
		exit 1
	fi
	export SLIPWAY_E2E_URL
	SLIPWAY_E2E_URL=$(at "$2" 8080)
	echo "healthy after $((SECONDS - start)) s, at $SLIPWAY_E2E_URL"
}
# networks: those in which Docker may put the stack, for which the gateway takes no name.
networks() { printf '172.%d.0.0/16,' {16..31} && echo 192.168.0.0/17,192.168.128.0/17; }
# suite TAGS arguments: what needs nothing but HTTP, with the tests of these tags too.
suite() { bin/gotest -count=1 -tags "libvirt_dlopen e2e remote $1" -timeout 15m slipway.dev/deploy/e2e "${@:2}"; }
# inside SERVICE tests: the suite beside a service, in its network.
inside() {
	[ -x "$tests" ] || CGO_ENABLED=0 go test -c -tags "e2e remote containers real" -o "$tests" slipway.dev/deploy/e2e
	docker run --rm --network "container:$($compose --env-file "$env" ps --quiet "$1")" --volume "$tests:/tests:ro" \
		--env SLIPWAY_E2E_URL=http://gateway:8080 --env SLIPWAY_E2E_PASSWORD debian:bookworm-slim /tests -test.timeout 10m -test.run "$2" "${@:3}"
}
rest() { SLIPWAY_ADMIN_PASSWORD=$SLIPWAY_E2E_PASSWORD go run slipway.dev/deploy/cmd/slipway fsck --url "$SLIPWAY_E2E_URL"; }

step "images"
bin/gotest -count=1 -tags 'libvirt_dlopen containers' slipway.dev/deploy/images
# One after the other: the first builds all programs, the others take theirs.
$compose build --quiet keys >/dev/null
$compose build --quiet auth ip vm node gateway >/dev/null
! wanted libvirt && ! wanted images || $compose build --quiet node-libvirt >/dev/null
docker image ls --format '{{.Repository}} {{.Tag}} {{.Size}}' | grep "^slipway/.* $SLIPWAY_TAG "

if wanted single; then
	step "roles of PostgreSQL, a cluster of NATS"
	bin/gotest -count=1 -tags 'libvirt_dlopen containers' slipway.dev/deploy/containers

	step "one of everything, with Prometheus and a collector of traces"
	# The gateway believes the suite which client it is; the collector is a test in the gateway's network.
	export SLIPWAY_TRUSTED_PROXIES=$(networks) OTEL_EXPORTER_OTLP_ENDPOINT=http://gateway:4317
	up deploy/compose/single.env gateway
	step "one trace from the request to the hypervisor"
	inside gateway TestTraces -test.v
	step "metrics of every container"
	SLIPWAY_E2E_PROMETHEUS=$(at prometheus 9090) suite containers -run TestMetrics
	step "the suite against docker compose"
	suite ""
	step "memory under load"
	go test -count=1 -tags 'libvirt_dlopen e2e remote containers' -timeout 15m slipway.dev/deploy/e2e -run TestMemory -v
	rest
	down
	unset OTEL_EXPORTER_OTLP_ENDPOINT SLIPWAY_TRUSTED_PROXIES
fi

if wanted ha; then
	step "the suite against two replicas of everything, and a rolling restart under load"
	# The edge and the gateways believe the suite which client it is.
	export SLIPWAY_TRUSTED_PROXIES=edge,$(networks) SLIPWAY_EDGE_PROXIES=0.0.0.0/0
	up deploy/compose/ha.env edge
	suite containers -skip 'TestTraces|TestMetrics|TestMemory'
	rest
	down
	unset SLIPWAY_TRUSTED_PROXIES SLIPWAY_EDGE_PROXIES
fi

if wanted libvirt; then
	step "real machines"
	[ -e bin/templates/tiny.json ] || deploy/guest/build.sh bin/templates
	export SLIPWAY_ACCEL=${SLIPWAY_ACCEL:-tcg}
	up deploy/compose/libvirt.env gateway
	inside node-libvirt 'TestMainPath|TestAddresses' -test.v
	rest
	down
fi
printf '\ncontainers: all passed in %d s\n' $SECONDS
