#!/bin/bash
# Run by arrays.sh on its machine: makes real arrays, breaks and mends them, then a bond of network interfaces, an export of NFS with
# a client, and quotas of users, which want a kernel of their own, too. steps.sh says how what is told is compared.
# How often a rebuild tells how far it is depends on the machine; link-local addresses are made at random.
levelled='/ storage\.pool\.(resilver|scrub)_progress /d; s/, [0-9.]+ % done$//; / address: fe80:/d'
kinds='(storage|usage|sharing|network\.interface|system\.host\.(blind_spot|sees_again))[a-z_.]*'
. "$(dirname "$0")/steps.sh"

cd /root
for disk in a b c d e; do
    truncate -s 32M "$disk.img"
    declare "$disk=$(losetup --find --show "$disk.img")"
done
# So slow that a rebuild is seen.
echo 4000 > /proc/sys/dev/raid/speed_limit_max
# The monitor runs the hook, too: what both see is told once.
rodent hooks enable mdadm
begin

step "a mirror is made" "mdadm --create /dev/md0 --run --level=1 --metadata=1.2 --raid-devices=2 $a $b" <<END
info storage.pool.imported Pool md0 was imported: md-raid1, 31.0 MiB
info storage.pool.resilver_started Pool md0 is being rebuilt
info storage.pool.resilver_completed Pool md0 was rebuilt
END

step "the monitor begins to watch" "mdadm --detail --scan >> /etc/mdadm/mdadm.conf; systemctl start mdmonitor; sleep 5; systemctl is-active mdmonitor" <<END
END

step "a disk fails" "mdadm --manage /dev/md0 --fail $b" <<END
error storage.pool.degraded Pool md0 is degraded: ${b#/dev/} FAULTED, 1 of its disks missing
error storage.disk.state_changed Disk $b is FAULTED in pool md0, it was ONLINE
wrong error $b: Disk $b is FAULTED in pool md0, it was ONLINE
wrong error md0: Pool md0 is degraded: ${b#/dev/} FAULTED, 1 of its disks missing
END

step "it is taken out" "mdadm --manage /dev/md0 --remove $b" <<END
info storage.disk.removed_from_pool Disk $b was taken out of pool md0, it was FAULTED
wrong error md0: Pool md0 is degraded: ${b#/dev/} FAULTED, 1 of its disks missing
END

step "another takes its place" "mdadm --manage /dev/md0 --add $c" <<END
info storage.disk.added_to_pool Disk $c was added to pool md0, state REBUILDING
info storage.pool.resilver_started Pool md0 is being rebuilt
info storage.pool.resilver_completed Pool md0 was rebuilt
info storage.pool.online Pool md0 is online again
info storage.disk.state_changed Disk $c is ONLINE in pool md0, it was REBUILDING
END

step "copies that differ are found by a check" "dd if=/dev/urandom of=$c bs=1M seek=8 count=1 oflag=direct; echo check > /sys/block/md0/md/sync_action" <<END
info storage.pool.scrub_started Pool md0 is being scrubbed
warn storage.pool.scrub_completed Pool md0 was scrubbed, mismatches: 2,048
wrong warn md0: Pool md0 was scrubbed, mismatches: 2,048
END

step "they are repaired" "echo repair > /sys/block/md0/md/sync_action" <<END
info storage.pool.scrub_started Pool md0 is being scrubbed
info storage.pool.scrub_completed Pool md0 was scrubbed
END

step "the agent is away while a disk fails and is replaced" "systemctl stop rodent; mdadm --manage /dev/md0 --fail $c; sleep 1; \
    mdadm --manage /dev/md0 --remove $c; echo 200000 > /proc/sys/dev/raid/speed_limit_max; mdadm --zero-superblock $b; \
    mdadm --manage /dev/md0 --add $b; mdadm --wait /dev/md0; systemctl start rodent" <<END
info storage.disk.removed_from_pool Disk $c was taken out of pool md0, it was ONLINE
info storage.disk.added_to_pool Disk $b was added to pool md0, state ONLINE
END

step "the agent is away while one fails for good" "systemctl stop rodent; mdadm --manage /dev/md0 --fail $a; systemctl start rodent" <<END
error storage.pool.degraded Pool md0 is degraded: ${a#/dev/} FAULTED, 1 of its disks missing
error storage.disk.state_changed Disk $a is FAULTED in pool md0, it was ONLINE
wrong error $a: Disk $a is FAULTED in pool md0, it was ONLINE
wrong error md0: Pool md0 is degraded: ${a#/dev/} FAULTED, 1 of its disks missing
END

step "it is stopped while the monitor watches" "mdadm --stop /dev/md0; sleep 5" <<END
info storage.pool.exported Pool md0 is gone: exported or destroyed
info storage.disk.removed_from_pool Disk $a was taken out of pool md0, it was FAULTED
END

step "an array that is not there when the monitor begins" "systemctl restart mdmonitor; sleep 5" <<END
critical storage.pool.removed Pool md0 has disappeared: md
wrong critical md0: Pool md0 has disappeared: md
END

step "it comes back" "mdadm --assemble --run /dev/md0 $b" <<END
info storage.pool.imported Pool md0 was imported: md-raid1, 31.0 MiB
error storage.pool.degraded Pool md0 is degraded, 1 of its disks missing
wrong error md0: Pool md0 is degraded, 1 of its disks missing
END

step "it is given up" "sed -i /^ARRAY/d /etc/mdadm/mdadm.conf; mdadm --stop /dev/md0; systemctl restart mdmonitor" <<END
info storage.pool.exported Pool md0 is gone: exported or destroyed
END

# A disk of the device mapper whose blocks turn to errors.
dmsetup create sick --table "0 $(blockdev --getsz "$d") linear $d 0"
step "a mirror of a disk that gets sick" "mdadm --create /dev/md1 --run --level=1 --metadata=1.2 --assume-clean --raid-devices=2 /dev/mapper/sick $e" <<END
info storage.pool.imported Pool md1 was imported: md-raid1, 31.0 MiB
END

step "the disk fails by errors" "dmsetup suspend --noflush --nolockfs sick; dmsetup load sick --table '0 $(blockdev --getsz "$d") error'; \
    dmsetup resume sick; dd if=/dev/zero of=/dev/md1 bs=1M count=1 oflag=direct" <<END
error storage.pool.degraded Pool md1 is degraded: dm-0 FAULTED, 1 of its disks missing
error storage.disk.state_changed Disk /dev/dm-0 is FAULTED in pool md1, it was ONLINE
wrong error /dev/dm-0: Disk /dev/dm-0 is FAULTED in pool md1, it was ONLINE
wrong error md1: Pool md1 is degraded: dm-0 FAULTED, 1 of its disks missing
END

# What the monitor misses in its first minute it takes for what was not there when it began.
step "it is stopped, too" "systemctl stop mdmonitor; mdadm --stop /dev/md1; dmsetup remove sick" <<END
info storage.disk.removed_from_pool Disk /dev/dm-0 was taken out of pool md1, it was FAULTED
info storage.pool.exported Pool md1 is gone: exported or destroyed
END

# The members are given their addresses, for those are told.
step "a bond of two" "modprobe -a bonding dummy; ip link add bond7 address 02:00:00:00:00:70 type bond mode active-backup miimon 100
    for lan in 1 2; do ip link add lan\$lan address 02:00:00:00:00:0\$lan type dummy; ip link set lan\$lan master bond7; done
    ip link set bond7 up; ip address add 10.7.0.1/24 dev bond7" <<END
info network.interface.added Interface bond7 was added: disabled, MAC address 02:00:00:00:00:70
info network.interface.added Interface lan1 was added: disabled, MAC address 02:00:00:00:00:01
info network.interface.added Interface lan2 was added: disabled, MAC address 02:00:00:00:00:02
info network.interface.address_added Interface bond7 has a new address: 10.7.0.1
info network.interface.configured Interface lan1 was reconfigured, MAC address 02:00:00:00:00:70 instead of 02:00:00:00:00:01
info network.interface.configured Interface lan2 was reconfigured, MAC address 02:00:00:00:00:70 instead of 02:00:00:00:00:02
info network.interface.up Interface bond7 is up
info network.interface.up Interface lan1 is up
info network.interface.up Interface lan2 is up
END

step "it loses a member" "ip link set lan1 carrier off; sleep 1; cat /proc/net/bonding/bond7" <<END
warn network.interface.down Interface lan1 is down: no carrier
wrong warn lan1: Interface lan1 is down: no carrier
END

step "and the other one" "ip link set lan2 carrier off" <<END
warn network.interface.down Interface bond7 is down: no carrier
warn network.interface.down Interface lan2 is down: no carrier
wrong warn bond7: Interface bond7 is down: no carrier
wrong warn lan1: Interface lan1 is down: no carrier
wrong warn lan2: Interface lan2 is down: no carrier
END

step "both come back" "ip link set lan1 carrier on; ip link set lan2 carrier on" <<END
info network.interface.up Interface bond7 is up
info network.interface.up Interface lan1 is up
info network.interface.up Interface lan2 is up
END

step "a directory is exported by NFS" "ip link set lo up; mkdir -p /srv/pub; echo '/srv/pub 127.0.0.1(rw,no_root_squash,fsid=1)' > /etc/exports
    systemctl start nfs-server; systemctl is-active nfs-server; exportfs -v" <<END
info sharing.share.created Share /srv/pub was created: /srv/pub, nfs, for 127.0.0.1(rw,no_root_squash)
END

step "a client comes" "mount -t nfs4 -o vers=4.2 127.0.0.1:/srv/pub /mnt; cat /proc/fs/nfsd/clients/*/info" <<END
info sharing.connection.connected Share NFS was opened, from 127.0.0.1, nfs4.2
info storage.dataset.mounted File system 127.0.0.1:/srv/pub was mounted at /mnt, nfs4, 1.9 GiB
END

step "the server is away under it" "systemctl stop nfs-server" <<END
info sharing.connection.disconnected Share NFS was closed, from 127.0.0.1, nfs4.2
warn system.host.blind_spot Rodent cannot see file system /mnt: /mnt does not answer within 2 s
wrong warn file system /mnt: Rodent cannot see file system /mnt: /mnt does not answer within 2 s
END

step "it is back" "systemctl start nfs-server" <<END
info sharing.connection.connected Share NFS was opened, from 127.0.0.1, nfs4.2
info system.host.sees_again Rodent sees file system /mnt again
END

step "it goes" "umount /mnt" <<END
info sharing.connection.disconnected Share NFS was closed, from 127.0.0.1, nfs4.2
info storage.dataset.unmounted File system 127.0.0.1:/srv/pub was unmounted from /mnt
END

step "the export is read-only from now on" "sed -i s/rw,no_root_squash/ro/ /etc/exports; exportfs -ra" <<END
info sharing.share.modified Share /srv/pub was changed: /srv/pub, nfs, read-only, for 127.0.0.1(ro), changed: 127.0.0.1
END

step "it is exported no more" "echo > /etc/exports; exportfs -ra" <<END
warn sharing.share.deleted Share /srv/pub was deleted: /srv/pub, nfs
END

step "a user comes over a quota, which nobody but root may see" "modprobe quota_v2; truncate -s 64M quota.img; mke2fs -q -t ext4 -O quota -E quotatype=usrquota quota.img
    mkdir -p /srv/home; mount -o loop,usrquota quota.img /srv/home; chmod 777 /srv/home; setquota -u 1000 1024 2048 0 0 /srv/home
    ! setpriv --reuid 1000 --clear-groups dd if=/dev/zero of=/srv/home/file bs=64K count=100" <<END
info storage.dataset.mounted File system /dev/loop5 was mounted at /srv/home, ext4, 54.7 MiB
END

finish
