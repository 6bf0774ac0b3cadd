#!/usr/bin/env bash
# Runs a script in a root file system without systemd: image.sh ROOT DIRECTORY PACKAGES SCRIPT. In a mount and a process
# namespace of its own, so that all goes with it. ROOT is only read: what is written lives in memory.
set -euo pipefail
root=$1 directory=$2 packages=$3 script=$4

mount -t tmpfs -o size=1g,mode=755 tmpfs "$directory"
mkdir "$directory/upper" "$directory/work" "$directory/root"
mount -t overlay -o "lowerdir=$root,upperdir=$directory/upper,workdir=$directory/work" overlay "$directory/root"
cd "$directory/root"
mkdir -p mnt/packages
mount --bind -o ro "$packages" mnt/packages
mount -t proc proc proc
mount -t tmpfs -o mode=755 tmpfs dev
mknod -m 666 dev/null c 1 3
mknod -m 666 dev/zero c 1 5
mknod -m 666 dev/urandom c 1 9
mknod -m 666 dev/random c 1 8
ln -s /proc/self/fd dev/fd
chroot . sh -euc "$script"
