#!/usr/bin/env bash
# Installs the Debian packages named as arguments that are missing, and names each before it does.
set -euo pipefail

missing=()
for p in "$@"; do
	dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing+=("$p")
done
lists=$(find /var/lib/apt/lists -maxdepth 1 -name '*Packages*' 2>/dev/null | head -n 1) # the guest is made of downloaded packages
[ ${#missing[@]} -gt 0 ] || [ -z "$lists" ] || exit 0

sudo=
if [ "$(id -u)" != 0 ]; then
	if ! command -v sudo >/dev/null || { [ ! -t 0 ] && ! sudo -n true 2>/dev/null; }; then
		echo "These Debian packages are missing, and only root can install them: ${missing[*]}" >&2
		echo "Run as root: apt-get install --no-install-recommends ${missing[*]}" >&2
		exit 1
	fi
	sudo=sudo
fi
# One run at a time, also of several clones: apt refuses to run twice, and policy-rc.d is made and removed below.
if [ -z "${SLIPWAY_PACKAGES_LOCKED:-}" ]; then
	exec $sudo flock /var/lib/dpkg env SLIPWAY_PACKAGES_LOCKED=1 "PATH=$PATH" "$0" "$@"
fi
apt() { env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=600 "$@"; }
if [ ${#missing[@]} -eq 0 ]; then
	echo "Fetching Debian's package lists"
	apt update
	exit 0
fi
echo "Installing Debian packages: ${missing[*]}"
# Debian's postgresql would start a server of its own; ours is private, so the start is refused for the time being.
policy=/usr/sbin/policy-rc.d
made=
if [ ! -e $policy ]; then
	printf '#!/bin/sh\nexit 101\n' >$policy
	chmod 755 $policy
	made=1
fi
trap '[ -z "$made" ] || rm -f $policy' EXIT
# cloud-init is for tests of its renderers: it must not configure this machine at its next boot.
case " ${missing[*]} " in *" cloud-init "*)
	mkdir -p /etc/cloud
	touch /etc/cloud/cloud-init.disabled
	;;
esac
apt update
apt install --no-install-recommends -y "${missing[@]}" >/dev/null
