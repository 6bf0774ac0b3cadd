#!/usr/bin/env bash
# Makes what the machine with real ZFS is made of, in DIRECTORY: pools-root.sh DIRECTORY. Made once, in a quarter of an hour, for
# the module of ZFS is compiled; DIRECTORY/key tells of what it was made, and a change of it makes it anew.
# - workshop: Debian 13 with the kernel, its headers, the compiler and QEMU; nothing of it is installed on this machine
# - root: Debian 13 with systemd and ZFS, and the kernel's modules out of the workshop; the programs under trial are not in it
# - vmlinuz, initrd: what QEMU starts
# The module is licensed by the CDDL: what stands here is for trials on this machine, and never goes into a package.
set -euo pipefail
directory=$1
suite=trixie
workshop=linux-image-amd64,linux-headers-amd64,dkms,initramfs-tools,zstd,qemu-system-x86,e2fsprogs
# Only what the unit in the initial file system needs to find the root.
initrd_modules="virtio_pci virtio_blk ext4"
guest=systemd,systemd-sysv,udev,dbus,kmod,procps,util-linux,mount,dmsetup,zfsutils-linux,zfs-zed
key="1 $suite $workshop zfs-dkms $initrd_modules $guest"
[ "$(cat "$directory/key" 2>/dev/null)" = "$key" ] && exit 0

echo "making a machine with ZFS of Debian $suite (once, about a quarter of an hour)"
rm -rf "$directory" && mkdir -p "$directory"
directory=$(realpath "$directory")
# The archive this machine takes its own packages from, where it is Debian's.
archive=$(apt-get indextargets --format '$(ORIGIN) $(REPO_URI)' 'Created-By: Packages' \
    | awk '$1 == "Debian" && $2 !~ /security/ { print $2; exit }')
archive=${archive:-http://deb.debian.org/debian}

debian() {
    mmdebstrap --quiet --variant=minbase --mode=root --dpkgopt=force-unsafe-io --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
        --aptopt='Acquire::Languages "none"' "$@" "deb $archive $suite main contrib" </dev/null
}

# mmdebstrap has /dev, /proc and a policy against starting services in place while its hooks run.
debian --include="$workshop" \
    --essential-hook='mkdir -p "$1/etc/initramfs-tools/conf.d" "$1/usr/share/initramfs-tools/modules.d"' \
    --essential-hook='echo MODULES=list > "$1/etc/initramfs-tools/conf.d/trial"' \
    --essential-hook="printf '%s\n' $initrd_modules > \"\$1/usr/share/initramfs-tools/modules.d/trial\"" \
    --customize-hook='DEBIAN_FRONTEND=noninteractive chroot "$1" apt-get install -q -y --no-install-recommends zfs-dkms' \
    --customize-hook='chroot "$1" sh -ec "
        release=\$(basename /lib/modules/*)
        version=\$(dkms status zfs | sed -nE \"1s:^zfs/([^,: ]+).*:\\1:p\")
        dkms status zfs -k \$release | grep -q installed || dkms install zfs/\$version -k \$release
        update-initramfs -u -k \$release"' \
    "$suite" "$directory/workshop"
debian --include="$guest" "$suite" "$directory/root"

release=$(basename "$directory"/workshop/lib/modules/*)
cp "$directory/workshop/boot/vmlinuz-$release" "$directory/vmlinuz"
cp "$directory/workshop/boot/initrd.img-$release" "$directory/initrd"
mkdir -p "$directory/root/lib/modules"
cp -a "$directory/workshop/lib/modules/$release" "$directory/root/lib/modules/"
rm -f "$directory/root/lib/modules/$release"/{build,source}
chroot "$directory/root" depmod "$release"
chroot "$directory/root" modinfo -k "$release" zfs >/dev/null || { echo "no module of ZFS for $release was made" >&2; exit 1; }
echo "$key" > "$directory/key"
