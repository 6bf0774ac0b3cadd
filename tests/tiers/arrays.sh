#!/usr/bin/env bash
# Tries the agent on a machine with real md arrays: a kernel of its own in user mode (no emulation, no KVM, nothing is
# installed here), booted with systemd from the root file system of the end-to-end tests plus mdadm. What arrays-inside.sh does
# there, and what is told of it, is printed; it ends with 0 when all that had to be told was. Debian 12, as root, once the
# programs are built: tests/tiers/arrays.sh [target/debug]
cd "$(dirname "$0")/../.." || exit 1
. tests/tiers/machine.sh
# Ten times what it takes on two idle cores, seconds.
TIME_MAX=1800

begin "${1:-target/debug}"
# The kernel, with its modules, unpacked beside the root file system.
if [ ! -x "$work/uml/usr/bin/linux.uml" ]; then
    rm -rf "$work/uml" && mkdir "$work/uml"
    (cd "$work/uml" && apt-get -o APT::Sandbox::User=root download -q user-mode-linux)
    dpkg-deb -x "$work"/uml/user-mode-linux_*.deb "$work/uml"
fi
PACKAGES=,mdadm,kmod,e2fsprogs,nfs-kernel-server,quota tests/e2e/root_fs.sh "$work/root"

prepare "$work/root" arrays
modules=$(basename "$work"/uml/usr/lib/uml/modules/*)
mkdir -p "$machine/lib/modules"
cp -a "$work/uml/usr/lib/uml/modules/$modules" "$machine/lib/modules/"
chroot "$machine" depmod "$modules"
printf '%s\n' md-mod raid1 raid456 loop dm-mod dm-flakey > "$machine/etc/modules-load.d/trial.conf"
# The clients of NFS the kernel tells to who may read all files.
mkdir -p "$machine/etc/systemd/system/rodent.service.d"
cp systemd/drop-ins/locked-accounts.conf "$machine/etc/systemd/system/rodent.service.d/"
# Started when their step comes.
rm -f "$machine"/etc/systemd/system/*.wants/{nfs-server,nfs-client,rpcbind,quota*}.*
make_image 2G

cc -O2 -shared -fPIC -o "$work/ptrace.so" tests/tiers/ptrace.c
LD_PRELOAD=$work/ptrace.so TMPDIR=/dev/shm setsid "$work/uml/usr/bin/linux.uml" mem=768M "ubd0=$image" root=/dev/ubda rw \
    con=null con0=fd:0,fd:1 quiet systemd.unified_cgroup_hierarchy=1 </dev/null > "$console" 2>&1 &
follow $! "$TIME_MAX"
