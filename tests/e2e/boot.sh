#!/usr/bin/env bash
# Becomes the systemd-nspawn of one container: boot.sh NAME ROOT DIRECTORY [systemd-nspawn option]…
# Runs in a mount namespace of its own, so everything mounted here goes with the container. ROOT is only read: what the
# container writes lives in memory. One cgroup2 hierarchy is mounted, because systemd inside wants no mixture.
set -euo pipefail
name=$1 root=$2 directory=$3
shift 3

umount -R /sys/fs/cgroup 2>/dev/null || true
mount -t cgroup2 none /sys/fs/cgroup
mkdir -p "/sys/fs/cgroup/$name"
echo $$ > "/sys/fs/cgroup/$name/cgroup.procs"

mount -t tmpfs -o size=2g,mode=755 tmpfs "$directory"
mkdir "$directory/upper" "$directory/work" "$directory/root"
mount -t overlay -o "lowerdir=$root,upperdir=$directory/upper,workdir=$directory/work" overlay "$directory/root"

exec systemd-nspawn --quiet -D "$directory/root" --machine="$name" --register=no --keep-unit --console=pipe \
    --private-network --link-journal=no "$@" --boot
