#!/usr/bin/env bash
# Makes sure that Docker's engine runs and that compose is there, installing and starting Debian's where they are not.
# Prints the command that is compose. Where an engine runs already it is used, and nothing is installed.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! docker info >/dev/null 2>&1; then
	deploy/packages.sh docker.io iptables >&2
	if ! docker info >/dev/null 2>&1; then
		sudo=
		[ "$(id -u)" = 0 ] || sudo="sudo -n"
		log=/var/log/slipway-dockerd.log
		# Outside this script's process group, so that Ctrl-C does not end it.
		$sudo setsid sh -c "exec dockerd >$log 2>&1 </dev/null" &
		for _ in $(seq 300); do
			docker info >/dev/null 2>&1 && break
			sleep 0.1
		done
		docker info >/dev/null 2>&1 || { echo "Docker's engine does not start; its log is $log" >&2; exit 1; }
		echo "Started Docker's engine" >&2
	fi
fi
if docker compose version >/dev/null 2>&1; then
	echo "docker compose"
	exit 0
fi
tool=$PWD/bin/tools/docker-compose
if [ ! -x "$tool" ]; then
	echo "Building docker compose, which takes some minutes" >&2
	(cd tools/compose && GOWORK=off GOFLAGS= CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o "$tool" github.com/docker/compose/v5/cmd)
fi
echo "$tool"
