#!/usr/bin/env bash
# Tries the agent on a machine with real ZFS pools: a full virtual machine of Debian 13 (QEMU without KVM, nothing is installed here)
# with the module of ZFS, its event daemon, and the agent with its hook. What pools-inside.sh does there, and what is told of it, is
# printed; it ends with 0 when all that had to be told was. Debian 12 or later, as root, once the programs are built:
# tests/tiers/pools.sh [target/debug]
# The first time it makes the machine, for a quarter of an hour (pools-root.sh).
cd "$(dirname "$0")/../.." || exit 1
. tests/tiers/machine.sh
# Several times what it takes on two idle cores, seconds.
TIME_MAX=5400
# What pools are made of, and one that is to be filled: ZFS keeps 128 MiB of each pool to itself.
DISKS=10
DISK_SIZE=256M
LAST_DISK_SIZE=2G

begin "${1:-target/debug}"
tests/tiers/pools-root.sh "$work/pools"
prepare "$work/pools/root" pools
ln -sf /dev/null "$machine/etc/systemd/system/serial-getty@ttyS0.service"
# An emulated machine stands still as long as this one has other things to do.
mkdir -p "$machine/etc/systemd/system/rodent.service.d"
printf '[Service]\nWatchdogSec=5min\n' > "$machine/etc/systemd/system/rodent.service.d/trial.conf"
make_image 3G

# QEMU runs in its workshop, where its own libraries are: the files it works on lie there, too.
workshop=$work/pools/workshop
rm -rf "$workshop/trial" && mkdir "$workshop/trial"
mv "$image" "$workshop/trial/root.img"
image=$workshop/trial/root.img
cp "$work/pools/vmlinuz" "$work/pools/initrd" "$workshop/trial/"
drive() { echo "-drive file=/trial/$1.img,if=none,id=$1,format=raw,cache=unsafe,discard=unmap -device virtio-blk-pci,drive=$1,serial=$1"; }
drives=$(drive root)
# Nothing is given up because it takes long here.
slow="systemd.default_timeout_start_sec=900 systemd.default_device_timeout_sec=900"
for ((disk = 0; disk < DISKS; disk++)); do
    size=$DISK_SIZE
    [ "$disk" = $((DISKS - 1)) ] && size=$LAST_DISK_SIZE
    truncate -s "$size" "$workshop/trial/disk$disk.img"
    drives+=" $(drive "disk$disk")"
done
# shellcheck disable=SC2086
setsid chroot "$workshop" qemu-system-x86_64 -accel tcg,thread=multi,tb-size=512 -machine q35 -cpu max,la57=off -smp 2 -m 1536 \
    -nodefaults -display none -no-reboot -serial stdio -kernel /trial/vmlinuz -initrd /trial/initrd \
    -append "root=/dev/vda rw console=ttyS0 quiet mitigations=off audit=0 apparmor=0 $slow" $drives \
    </dev/null > "$console" 2>&1 &
follow $! "$TIME_MAX"
