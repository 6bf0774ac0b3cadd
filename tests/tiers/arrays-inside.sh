#!/bin/bash
# Run by arrays.sh on its machine: makes real arrays, breaks and mends them. steps.sh says how what is told is compared.
# How often a rebuild tells how far it is depends on the machine.
levelled='/ storage\.pool\.(resilver|scrub)_progress /d'
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
warn storage.disk.added_to_pool Disk $c was added to pool md0, state REBUILDING
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
error storage.pool.degraded Pool md0 is degraded: 1 of its disks missing
wrong error md0: Pool md0 is degraded: 1 of its disks missing
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

finish
