#!/bin/bash
# Builds the template "tiny": OUTDIR/tiny.qcow2 and OUTDIR/tiny.json. Needs no root, mounts nothing and installs
# nothing: Debian packages are downloaded and unpacked, the disk is written with mtools and syslinux.
set -euo pipefail
export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin"
umask 022

die() {
	echo "build.sh: $*" >&2
	exit 1
}

[ $# -eq 1 ] || die "usage: build.sh OUTDIR"
mkdir -p "$1"
out=$(cd "$1" && pwd)
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

need() { command -v "$1" >/dev/null || die "no $1: install the Debian package $2"; }
[ "$(dpkg --print-architecture)" = amd64 ] || die "this host is not amd64, its packages are of no use to the guest"
need apt-get apt
need dpkg-deb dpkg
need go golang
need cpio cpio
need mkfs.vfat dosfstools
need mcopy mtools
need syslinux syslinux
need qemu-img qemu-utils
mbr=/usr/lib/syslinux/mbr/mbr.bin
ldlinux=/usr/lib/syslinux/modules/bios/ldlinux.c32
[ -f $mbr ] && [ -f $ldlinux ] || die "no $ldlinux: install the Debian package syslinux-common"

version=2                # of our part; the kernel's is added
size_mib=64              # of the disk
min_ram_mib=128          # 96 boots, 80 does not
export SOURCE_DATE_EPOCH=1700000000 # for every time stamp on the disk, so that equal inputs make equal disks
cmdline="console=tty0 console=ttyS0,115200 quiet panic=1"

# Loaded at boot, in this order, with what they depend on.
boot_modules="virtio_pci virtio_blk virtio_net isofs virtio-rng virtio_balloon virtio_console evdev button"
# Loaded when no virtio disk is the seed, and for a seed on FAT.
scsi_modules="virtio_scsi ata_piix sr_mod sd_mod"
vfat_modules="vfat nls_cp437 nls_ascii nls_utf8"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

apt=(apt-get -qq -o Debug::NoLocking=1)
[ "$(id -u)" -ne 0 ] || apt+=(-o APT::Sandbox::User=root) # _apt may not enter our directory

# The inputs. The kernel is the package behind the meta package; dropbear brings its libraries.
kernel_pkg=$(apt-cache depends linux-image-cloud-amd64 | awk '$1 == "Depends:" && $2 ~ /^linux-image-[0-9]/ {print $2; exit}')
[ -n "$kernel_pkg" ] || die "apt knows no linux-image-cloud-amd64: run apt-get update"
release=${kernel_pkg#linux-image-}
dropbear=$(apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances \
	dropbear-bin | grep '^[a-z0-9]' | sort -u)
packages="$kernel_pkg busybox-static $dropbear"

(cd "$here" && CGO_ENABLED=0 GOOS=linux GOARCH=amd64 go build -trimpath -buildvcs=false -ldflags "-s -w" \
	-o "$work/slipway-guest" ./cmd/slipway-guest)

stamp=$({
	# shellcheck disable=SC2086 # a list of words
	"${apt[@]}" download --print-uris $packages | awk '{print $2, $4}' | sort
	cd "$here" && find build.sh syslinux.cfg rootfs -type f -print0 | sort -z | xargs -0 sha256sum
	sha256sum <"$work/slipway-guest"
	sha256sum <$mbr
	sha256sum <$ldlinux
} | sha256sum | cut -d' ' -f1)
if [ -f "$out/tiny.qcow2" ] && [ -f "$out/tiny.json" ] && [ "$(cat "$out/tiny.stamp" 2>/dev/null)" = "$stamp" ]; then
	echo "build.sh: $out/tiny.qcow2 is up to date"
	exit 0
fi
rm -f "$out/tiny.stamp"

mkdir "$work/debs" "$work/sys" "$work/root"
# shellcheck disable=SC2086 # a list of words
if ! (cd "$work/debs" && "${apt[@]}" download $packages); then
	# Debian has newer packages than the lists here name.
	if [ "$(id -u)" -eq 0 ] && [ -z "${SLIPWAY_LISTS_UPDATED:-}" ]; then
		rm -rf "$work"
		apt-get -qq update
		SLIPWAY_LISTS_UPDATED=1 exec "$0" "$@"
	fi
	die "a package cannot be downloaded: run apt-get update"
fi
for deb in "$work"/debs/*.deb; do
	dpkg-deb -x "$deb" "$work/sys"
done

# The root file system, which is the initramfs.
root=$work/root
mkdir -p "$root"/{bin,sbin,usr/bin,usr/sbin,etc/dropbear,dev,proc,sys,run,tmp,root,mnt,var/log,lib/modules,lib64}
chmod 0700 "$root/root"
cp -R "$here/rootfs/." "$root/"
chmod 0755 "$root/init" "$root/etc/sshd" "$root"/etc/acpi/*/*
chmod 0600 "$root/etc/shadow"
cp "$work/sys/bin/busybox" "$root/bin/"
cp "$work/slipway-guest" "$root/sbin/"
"$root/bin/busybox" --list-full | while read -r applet; do
	mkdir -p "$root/$(dirname "$applet")"
	[ -e "$root/$applet" ] || ln -s /bin/busybox "$root/$applet"
done
cp "$work/sys/usr/sbin/dropbear" "$root/usr/sbin/"
cp "$work/sys/usr/bin/dropbearkey" "$root/usr/bin/"
# Ask the downloaded loader, not ldd: the libraries must be those of the downloaded packages. libcrypt is among
# them, dropbear checks passwords with it.
loader=$work/sys/lib64/ld-linux-x86-64.so.2
libpath=$work/sys/lib/x86_64-linux-gnu:$work/sys/usr/lib/x86_64-linux-gnu
for program in usr/sbin/dropbear usr/bin/dropbearkey; do
	"$work/sys/lib/x86_64-linux-gnu/$(basename "$(readlink "$loader")")" --library-path "$libpath" --list "$root/$program" |
		awk '$2 == "=>" {print $3}'
done | sort -u | while read -r lib; do
	case $lib in "$work"/*) cp -L "$lib" "$root/lib/" ;; *) die "$lib is not from a package" ;; esac
done
cp -L "$work/sys/lib/x86_64-linux-gnu/$(basename "$(readlink "$loader")")" "$root/lib64/ld-linux-x86-64.so.2"

# Modules: flat, with a list that names dependencies before dependents. A name without a file is built in.
find "$work/sys/lib/modules/$release/kernel" -name '*.ko' >"$work/modules"
add_module() { # list name
	local file dep
	file=$(grep -m1 "/$2\.ko$\|/${2//_/-}\.ko$" "$work/modules") || {
		grep -q "/$2\.ko$\|/${2//_/-}\.ko$" "$work/sys/lib/modules/$release/modules.builtin" || die "no module $2"
		return 0
	}
	for dep in $(tr '\0' '\n' <"$file" | grep -a '^depends=' | cut -d= -f2 | tr ',' ' '); do
		add_module "$1" "$dep"
	done
	cp -n "$file" "$root/lib/modules/"
	grep -qxF "$(basename "$file")" "$root/lib/modules/$1.list" || basename "$file" >>"$root/lib/modules/$1.list"
}
for list in boot scsi vfat; do
	: >"$root/lib/modules/$list.list"
	modules=${list}_modules
	for module in ${!modules}; do add_module $list "$module"; done
done

find "$root" -exec touch -h -d @$SOURCE_DATE_EPOCH {} +
(cd "$root" && find . -print0 | sort -z | cpio --quiet --null -o -H newc -R 0:0 --reproducible) >"$work/initrd.cpio"
# Measured: lz4, zstd and no compression boot within 0.1 s of this, and gzip is on every host.
gzip -9n <"$work/initrd.cpio" >"$work/initrd"

# The disk: a boot record, one active FAT partition at 1 MiB.
part_mib=$((size_mib - 1))
sed "s|@CMDLINE@|$cmdline|" "$here/syslinux.cfg" >"$work/syslinux.cfg"
cp "$work/sys/boot/vmlinuz-$release" "$work/vmlinuz"
touch -d @$SOURCE_DATE_EPOCH "$work/syslinux.cfg" "$work/vmlinuz" "$work/initrd"
truncate -s ${part_mib}M "$work/part"
mkfs.vfat -F 16 -n TINY -i 51170001 -h 2048 --invariant "$work/part" >/dev/null
syslinux --install "$work/part"
mcopy -m -i "$work/part" "$work/vmlinuz" "$work/initrd" "$work/syslinux.cfg" ::
le32() { printf '\\x%02x\\x%02x\\x%02x\\x%02x' $(($1 & 255)) $(($1 >> 8 & 255)) $(($1 >> 16 & 255)) $(($1 >> 24 & 255)); }
{
	dd if=$mbr bs=440 count=1 conv=sync status=none
	printf '%b' "$(le32 0x51170001)\x00\x00"                                          # disk id
	printf '%b' "\x80\xfe\xff\xff\x0e\xfe\xff\xff$(le32 2048)$(le32 $((part_mib * 2048)))" # active, FAT16 LBA
	head -c 48 /dev/zero
	printf '\x55\xaa'
} >"$work/disk"
truncate -s 1M "$work/disk"
cat "$work/part" >>"$work/disk"
qemu-img convert -f raw -O qcow2 "$work/disk" "$work/tiny.qcow2"

bytes=$(stat -c %s "$work/tiny.qcow2")
[ "$bytes" -lt $((40 << 20)) ] || die "tiny.qcow2 has $bytes bytes, more than 40 MiB"
cat >"$work/tiny.json" <<EOF
{
  "name": "tiny",
  "title": "Slipway tiny guest",
  "file": "tiny.qcow2",
  "sha256": "$(sha256sum <"$work/tiny.qcow2" | cut -d' ' -f1)",
  "format": "qcow2",
  "size_bytes": $bytes,
  "min_ram_mib": $min_ram_mib,
  "min_disk_mib": $size_mib,
  "os_type": "linux",
  "os_group": "linux",
  "version": "$version-linux-${release%-cloud-amd64}"
}
EOF
mv "$work/tiny.qcow2" "$work/tiny.json" "$out/"
echo "$stamp" >"$out/tiny.stamp"
echo "build.sh: $out/tiny.qcow2, $((bytes >> 20)) MiB"
