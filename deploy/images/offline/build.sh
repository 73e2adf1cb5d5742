#!/usr/bin/env bash
# Builds the base images that the Dockerfile and docker-compose.yml name, where no registry can be reached, from Debian
# packages, Go modules and the Go of this machine, under the same names. Existing images are kept.
#
#   build.sh [name…]     golang, debian, postgres, nats, haproxy, prometheus; all without arguments
set -euo pipefail
cd "$(dirname "$0")/../../.."
. deploy/images/offline/names.sh

export DEBIAN_FRONTEND=noninteractive
work=$(mktemp -d)
chmod 755 "$work"
trap 'rm -rf "$work"' EXIT

have() { docker image inspect "$1" >/dev/null 2>&1; }

# root DIR packages…: a small Debian in DIR, without documentation, as Debian's own images are.
root() {
	local dir=$1
	shift
	if [ ! -d "$work/base" ]; then
		quiet mmdebstrap --variant=minbase --include=ca-certificates \
			--dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
			--skip=cleanup/apt/lists bookworm "$work/base"
		# What this machine's registries ask for to be trusted is asked for inside a build as well.
		cp /etc/ssl/certs/ca-certificates.crt "$work/base/etc/ssl/certs/"
		rm -f "$work"/base/etc/apt/sources.list
		cp -r /etc/apt/sources.list* "$work/base/etc/apt/"
		cp /etc/resolv.conf "$work/base/etc/resolv.conf"
		printf '#!/bin/sh\nexit 101\n' >"$work/base/usr/sbin/policy-rc.d"
		chmod 755 "$work/base/usr/sbin/policy-rc.d"
		quiet chroot "$work/base" apt-get update
	fi
	cp -a "$work/base" "$dir"
	[ $# -eq 0 ] || quiet chroot "$dir" apt-get install -y --no-install-recommends "$@"
	rm -rf "$dir"/var/lib/apt/lists/* "$dir"/var/cache/apt/*
}

# quiet runs a command and shows its output only if it fails.
quiet() { "$@" >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }; }

# import DIR IMAGE changes…: a directory becomes an image.
import() {
	local dir=$1 image=$2 args=()
	shift 2
	for change in "$@"; do args+=(--change "$change"); done
	tar -C "$dir" --numeric-owner --sort=name -c . | docker import "${args[@]}" - "$image" >/dev/null
	echo "$image"
}

make_debian() {
	have "$DEBIAN_IMAGE" && return
	root "$work/debian"
	import "$work/debian" "$DEBIAN_IMAGE" 'CMD ["bash"]'
}

make_golang() {
	have "$GOLANG_IMAGE" && return
	root "$work/golang" gcc libc6-dev
	mkdir -p "$work/golang/go"
	mkdir -p "$work/golang/usr/local/go"
	tar -C "$(go env GOROOT)" --exclude=./test --exclude=./doc --exclude=./api -c . | tar -C "$work/golang/usr/local/go" -x
	import "$work/golang" "$GOLANG_IMAGE" 'ENV PATH=/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin GOPATH=/go' 'WORKDIR /go' 'CMD ["bash"]'
}

make_postgres() {
	have "$POSTGRES_IMAGE" && return
	root "$work/postgres"
	# The user has the number of the image of that name, before the package would choose another.
	chroot "$work/postgres" groupadd -r -g 999 postgres
	chroot "$work/postgres" useradd -r -u 999 -g 999 -d /var/lib/postgresql -s /bin/bash postgres
	mkdir -p "$work/postgres/etc/postgresql-common"
	echo 'create_main_cluster = false' >"$work/postgres/etc/postgresql-common/createcluster.conf"
	quiet chroot "$work/postgres" sh -c 'apt-get update && apt-get install -y --no-install-recommends postgresql-15 && rm -rf /var/lib/apt/lists/* /var/cache/apt/*'
	install -d -m 3777 -o 999 -g 999 "$work/postgres/var/run/postgresql"
	install -d -m 700 -o 999 -g 999 "$work/postgres/var/lib/postgresql/data"
	install -m 755 deploy/images/offline/postgres-entrypoint.sh "$work/postgres/usr/local/bin/docker-entrypoint.sh"
	import "$work/postgres" "$POSTGRES_IMAGE" 'ENV PATH=/usr/lib/postgresql/15/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin PGDATA=/var/lib/postgresql/data LANG=C.UTF-8' \
		'ENTRYPOINT ["docker-entrypoint.sh"]' 'CMD ["postgres"]' 'EXPOSE 5432' 'VOLUME /var/lib/postgresql/data'
}

make_nats() {
	have "$NATS_IMAGE" && return
	local dir=$work/nats
	mkdir -p "$dir/usr/local/bin" "$dir/bin" "$dir/tmp" "$dir/etc/nats"
	# The version is that of the client library's test server, in the workspace's own list.
	CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o "$dir/usr/local/bin/nats-server" github.com/nats-io/nats-server/v2
	if [ ! -x /bin/busybox ] || ldd /bin/busybox >/dev/null 2>&1; then
		(cd "$work" && apt-get download -qq busybox-static >/dev/null && dpkg-deb -x busybox-static_*.deb "$work/busybox")
		install -m 755 "$work/busybox/bin/busybox" "$dir/bin/busybox"
	else
		install -m 755 /bin/busybox "$dir/bin/busybox"
	fi
	for applet in sh wget; do ln -s busybox "$dir/bin/$applet"; done
	import "$dir" "$NATS_IMAGE" 'ENV PATH=/usr/local/bin:/bin' 'ENTRYPOINT ["nats-server"]' 'EXPOSE 4222 6222 8222'
}

make_haproxy() {
	have "$HAPROXY_IMAGE" && return
	root "$work/haproxy" haproxy
	import "$work/haproxy" "$HAPROXY_IMAGE" 'CMD ["haproxy", "-f", "/usr/local/etc/haproxy/haproxy.cfg"]' 'USER haproxy'
}

make_prometheus() {
	have "$PROMETHEUS_IMAGE" && return
	root "$work/prometheus" prometheus
	mkdir -p "$work/prometheus/bin" && install -d -o 65534 -g 65534 "$work/prometheus/prometheus"
	import "$work/prometheus" "$PROMETHEUS_IMAGE" 'ENTRYPOINT ["prometheus"]' 'USER 65534' 'WORKDIR /prometheus'
}

[ $# -gt 0 ] || set -- golang debian postgres nats haproxy prometheus
for name in "$@"; do "make_$name"; done
