#!/usr/bin/env bash
# Makes sure that Docker's engine runs and that compose is there, installing and starting Debian's where they are not.
# Prints the command that is compose. Where an engine runs already it is used, and nothing is installed.
set -euo pipefail
cd "$(dirname "$0")/.."

log=/var/log/slipway-dockerd.log
sudo=
[ "$(id -u)" = 0 ] || sudo="sudo -n"

fail() {
	printf '%s\n' "$@" >&2
	exit 1
}
as_root() { [ -z "$sudo" ] || { command -v sudo && $sudo true; } >/dev/null 2>&1; }

# forget FILE PROGRAM: a file of the id of a process that is another by now, or none, as a crash leaves it. The engine would
# refuse to start, or take that process for its own and end it.
forget() {
	local pid
	pid=$($sudo cat "$1" 2>/dev/null) || return 0
	[ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "$2" ] || $sudo rm -f "$1"
}

# iptables_that_works prints a directory to search first: Debian's iptables speaks nftables, which a kernel may not have.
iptables_that_works() {
	! $sudo iptables -t nat -S >/dev/null 2>&1 || return 0
	$sudo iptables-legacy -t nat -S >/dev/null 2>&1 || return 0 # the engine's log shows what is missing
	$sudo mkdir -p /run/slipway-iptables
	local name
	for name in iptables ip6tables; do $sudo ln -sf "$(command -v $name-legacy)" /run/slipway-iptables/$name; done
	echo /run/slipway-iptables:
}

start() {
	as_root || fail "Docker's engine does not run, and only root can start it: run as root or with sudo, or start it yourself."
	command -v dockerd >/dev/null || deploy/packages.sh docker.io iptables >&2
	command -v docker >/dev/null || deploy/packages.sh docker-cli >&2 # a package of its own since Debian 13
	! docker info >/dev/null 2>&1 || return 0 # the package's own service
	if $sudo docker info >/dev/null 2>&1; then
		fail "Docker's engine runs, and $(id -un) may not use it: usermod -aG docker $(id -un), then log in again."
	fi
	if [ -d /run/systemd/system ]; then
		$sudo systemctl start docker >&2 || true
		! docker info >/dev/null 2>&1 || return 0
	fi
	# Mounts that systemd would make.
	grep -q ' /sys/fs/cgroup' /proc/mounts || $sudo mount -t cgroup2 cgroup2 /sys/fs/cgroup || true
	forget /run/docker.pid dockerd
	forget /run/docker/containerd/containerd.pid containerd
	local group=
	[ -z "$sudo" ] || group="--group $(id -g)" # who starts it may use it
	# Outside this script's process group, so that Ctrl-C does not end it, and without the files of its caller: the engine lives
	# on, and a lock on such a file would stay with it.
	$sudo setsid env PATH="$(iptables_that_works)$PATH" bash -c "
		for fd in /proc/self/fd/*; do fd=\${fd##*/}; [ \$fd -le 2 ] || eval \"exec \$fd>&-\"; done
		exec dockerd $group >>$log 2>&1 </dev/null" &
	local engine=$!
	for _ in $(seq 600); do
		if docker info >/dev/null 2>&1; then
			echo "Started Docker's engine; its log is $log" >&2
			return
		fi
		[ -d /proc/$engine ] || break
		sleep 0.1
	done
	$sudo tail -n 5 $log >&2
	fail "Docker's engine does not start on this machine. The lines above are from $log." \
		"It needs root with all capabilities, cgroups, overlayfs and netfilter: a machine or a virtual machine, not a plain container."
}

export PATH=$PATH:/usr/sbin:/sbin
if ! docker info >/dev/null 2>&1; then
	[ -z "${DOCKER_HOST:-}" ] || fail "Docker's engine at DOCKER_HOST=$DOCKER_HOST does not answer."
	start
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
