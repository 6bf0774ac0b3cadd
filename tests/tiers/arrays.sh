#!/usr/bin/env bash
# Tries the agent on a machine with real md arrays: a kernel of its own in user mode (no emulation, no KVM, nothing is
# installed here), booted with systemd from the root file system of the end-to-end tests plus mdadm. What arrays-inside.sh does
# there, and what is told of it, is printed; it ends with 0 when all that had to be told was. Debian 12, as root, once the
# programs are built: tests/tiers/arrays.sh [target/debug]
set -euo pipefail
cd "$(dirname "$0")/../.."
programs=${1:-target/debug}
# Ten times what it takes on two idle cores, seconds.
TIME_MAX=1800
[ "$(id -u)" = 0 ] || { echo "run as root: it makes a root file system" >&2; exit 1; }
[ -x "$programs/rodent" ] || { echo "no $programs/rodent: cargo build --all-features" >&2; exit 1; }
work=${CARGO_TARGET_DIR:-target}/tiers
mkdir -p "$work"
work=$(realpath "$work")

# The kernel, with its modules, unpacked beside the root file system.
if [ ! -x "$work/uml/usr/bin/linux.uml" ]; then
    rm -rf "$work/uml" && mkdir "$work/uml"
    (cd "$work/uml" && apt-get -o APT::Sandbox::User=root download -q user-mode-linux)
    dpkg-deb -x "$work"/uml/user-mode-linux_*.deb "$work/uml"
fi
PACKAGES=,mdadm,kmod,e2fsprogs tests/e2e/root_fs.sh "$work/root"

# What differs from run to run goes into a copy.
rm -rf "$work/machine" && cp -a --reflink=auto "$work/root" "$work/machine"
machine=$work/machine
modules=$(basename "$work"/uml/usr/lib/uml/modules/*)
mkdir -p "$machine/lib/modules" "$machine/usr/lib/sysusers.d" "$machine/usr/lib/tmpfiles.d" "$machine/etc/rodent"
cp -a "$work/uml/usr/lib/uml/modules/$modules" "$machine/lib/modules/"
chroot "$machine" depmod "$modules"
strip -o "$machine/usr/bin/rodent" "$programs/rodent"
cp packaging/sysusers.d/rodent.conf "$machine/usr/lib/sysusers.d/"
cp packaging/tmpfiles.d/rodent.conf "$machine/usr/lib/tmpfiles.d/"
cp systemd/rodent.service "$machine/usr/lib/systemd/system/"
echo 'events: {flush_interval: 100ms}' > "$machine/etc/rodent/rodent.yml"
install -m 755 tests/tiers/arrays-inside.sh "$machine/usr/local/bin/arrays"
printf '%s\n' md-mod raid1 raid456 loop dm-mod dm-flakey > "$machine/etc/modules-load.d/trial.conf"
cat > "$machine/etc/systemd/system/trial.service" <<UNIT
[Unit]
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/bin/sh -c '/usr/local/bin/arrays; echo "ended with \$\$?"; poweroff -f'
StandardOutput=file:/dev/console
StandardError=file:/dev/console
[Install]
WantedBy=multi-user.target
UNIT
ln -sf ../trial.service "$machine/etc/systemd/system/multi-user.target.wants/trial.service"
ln -sf /dev/null "$machine/etc/systemd/system/mdmonitor.service"

image=$work/machine.img
rm -f "$image" && truncate -s 2G "$image"
mke2fs -q -t ext4 -d "$machine" "$image"
rm -rf "$machine"
cc -O2 -shared -fPIC -o "$work/ptrace.so" tests/tiers/ptrace.c
LD_PRELOAD=$work/ptrace.so TMPDIR=/dev/shm setsid "$work/uml/usr/bin/linux.uml" mem=768M "ubd0=$image" root=/dev/ubda rw \
    con=null con0=fd:0,fd:1 quiet systemd.unified_cgroup_hierarchy=1 </dev/null > "$work/console" 2>&1 &
kernel=$!
trap 'kill -s KILL -- -$kernel 2> /dev/null || true; rm -f "$image"' EXIT
for ((second = 0; second < TIME_MAX; second++)); do
    kill -s 0 "$kernel" 2> /dev/null || break
    sleep 1
done
sed -n '/^== /,$p' "$work/console"
grep -q '^ended with 0' "$work/console"
