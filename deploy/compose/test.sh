#!/usr/bin/env bash
# Builds the images, runs the stack under docker compose and the end-to-end suite against it; then the same with two
# replicas of everything, restarted one after the other under load. Everything it made is removed, the images are kept.
set -euo pipefail
cd "$(dirname "$0")/../.."

compose=$(deploy/docker.sh)
step() { printf '\n-- %s (%s)\n' "$1" "$(date +%T)"; }

step "base images"
deploy/packages.sh mmdebstrap
deploy/images/offline/build.sh

export COMPOSE_PROJECT_NAME=slipway-test SLIPWAY_TAG=test SLIPWAY_ADMIN_PASSWORD=e2e-Password-1 SLIPWAY_LOG=info
export SLIPWAY_E2E_PASSWORD=$SLIPWAY_ADMIN_PASSWORD SLIPWAY_E2E_PROJECT=$COMPOSE_PROJECT_NAME
down() { $compose --env-file "$env" down --volumes --timeout 5 >/dev/null 2>&1 || true; }
# up ENVFILE: the stack, from nothing to healthy. What went wrong is shown.
up() {
	env=$1
	trap down EXIT
	down
	local start=$SECONDS
	if ! $compose --env-file "$env" up --detach --wait --wait-timeout 300 >/dev/null 2>"$log"; then
		cat "$log" >&2
		$compose --env-file "$env" logs --tail 30 >&2
		exit 1
	fi
	echo "healthy after $((SECONDS - start)) s"
}
log=$(mktemp)

step "images"
env=deploy/compose/single.env
# One after the other: the first builds all programs, the others take theirs.
$compose build --quiet keys >/dev/null
$compose build --quiet auth ip vm node gateway >/dev/null
docker image ls --format '{{.Repository}} {{.Tag}} {{.Size}}' | grep ' test ' | grep '^slipway/'

step "roles of PostgreSQL, a cluster of NATS"
go test -count=1 -tags 'libvirt_dlopen containers' slipway.dev/deploy/containers

step "the suite against docker compose"
export SLIPWAY_PORT=18080 SLIPWAY_E2E_URL=http://127.0.0.1:18080
up deploy/compose/single.env
go test -count=1 -tags 'libvirt_dlopen e2e remote' -timeout 10m slipway.dev/deploy/e2e
docker stats --no-stream --format '{{.Name}} {{.MemUsage}}' | grep "^$COMPOSE_PROJECT_NAME" || true
down

step "the suite against two replicas of everything, and a rolling restart under load"
export SLIPWAY_PORT=18081-18082 SLIPWAY_EDGE_PORT=18080
up deploy/compose/ha.env
go test -count=1 -tags 'libvirt_dlopen e2e remote ha' -timeout 15m slipway.dev/deploy/e2e
down
trap - EXIT
rm -f "$log"
