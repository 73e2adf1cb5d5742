#!/bin/sh
# Sets up what machines need and a container lacks; then runs the agent.
set -eu

# Devices: the node of each that this kernel has. The container may use no others.
device() {
	if [ ! -e "$2" ] && [ -r "/sys/class/misc/$1/dev" ]; then
		mkdir -p "$(dirname "$2")"
		mknod -m 666 "$2" c "$(cut -d: -f1 "/sys/class/misc/$1/dev")" "$(cut -d: -f2 "/sys/class/misc/$1/dev")"
	fi
}
device kvm /dev/kvm
device tun /dev/net/tun

# libvirt makes a control group for each machine, below the container's own.
awk '$3 ~ /^cgroup2?$/ && $4 ~ /^ro/ { print $2 }' /proc/mounts | while read -r group; do mount -o remount,bind,rw "$group"; done

# Machines have IPv6 where the network of the containers has none.
if [ -e /proc/sys/net/ipv6/conf/all/disable_ipv6 ]; then
	echo 0 >/proc/sys/net/ipv6/conf/all/disable_ipv6
	echo 0 >/proc/sys/net/ipv6/conf/default/disable_ipv6
fi
exec /service "$@"
