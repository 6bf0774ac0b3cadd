#!/bin/bash
# Run by arrays.sh on its machine: makes real arrays, breaks and mends them. At each step it prints what the agent tells and what is
# wrong then, and compares the first with what has to be told: no line more, and none less. Ends with the number of steps that
# differ.
set -u
differ=0

# What has come since the last time, less time and level. How often a rebuild tells how far it is depends on the machine.
news() {
    rodent events --as trial --utc 'storage.*' | sed -nE 's/^.* (info|warn|error|critical) +[a-z_.]+ +//p' \
        | sed 's/ is being rebuilt, .*/ is being rebuilt/'
}

# step WHAT COMMANDS; what has to be told stands in the standard input.
step() {
    local told="" expected second
    expected=$(sort -u)
    printf '\n== %s\n' "$1"
    eval "$2" > /tmp/step.log 2>&1 || { echo "FAILED: $2"; cat /tmp/step.log; differ=$((differ + 1)); }
    for ((second = 0; second < 90; second++)); do
        told=$(printf '%s\n' "$told" "$(news)" | sed '/^$/d' | sort -u)
        [ -z "$(comm -23 <(echo "$expected") <(echo "$told"))" ] && break
        sleep 1
    done
    sleep 3
    told=$(printf '%s\n' "$told" "$(news)" | sed '/^$/d' | sort -u)
    echo "$told" | sed 's/^/told:    /'
    rodent problems | sed -n 's/^/wrong:   /p'
    [ "$told" = "$expected" ] || { differ=$((differ + 1)); echo "DIFFERS:"; diff <(echo "$expected") <(echo "$told"); }
}

cd /root
for disk in a b c d e; do
    truncate -s 32M "$disk.img"
    declare "$disk=$(losetup --find --show "$disk.img")"
done
# So slow that a rebuild is seen.
echo 4000 > /proc/sys/dev/raid/speed_limit_max
systemd-sysusers && systemd-tmpfiles --create rodent.conf
systemctl start rodent
until rodent status >/dev/null 2>&1; do sleep 1; done
rodent events --as trial >/dev/null

step "a mirror is made" "mdadm --create /dev/md0 --run --level=1 --metadata=1.2 --raid-devices=2 $a $b" <<END
Pool md0 was imported: md-raid1, 31.0 MiB
Pool md0 is being rebuilt
Pool md0 was rebuilt
END

step "a disk fails" "mdadm --manage /dev/md0 --fail $b" <<END
Pool md0 is degraded: ${b#/dev/} FAULTED, 1 of its disks missing
Disk $b is FAULTED in pool md0, it was ONLINE
END

step "it is taken out" "mdadm --manage /dev/md0 --remove $b" <<END
Disk $b was taken out of pool md0, it was FAULTED
END

step "another takes its place" "mdadm --manage /dev/md0 --add $c" <<END
Disk $c was added to pool md0, state REBUILDING
Pool md0 is being rebuilt
Pool md0 was rebuilt
Pool md0 is online again
Disk $c is ONLINE in pool md0, it was REBUILDING
END

step "copies that differ are found by a check" "dd if=/dev/urandom of=$c bs=1M seek=8 count=1 oflag=direct; echo check > /sys/block/md0/md/sync_action" <<END
Pool md0 is being scrubbed
Pool md0 was scrubbed, mismatches: 2,048
END

step "they are repaired" "echo repair > /sys/block/md0/md/sync_action" <<END
Pool md0 is being scrubbed
Pool md0 was scrubbed
END

step "the agent is away while a disk fails and is replaced" "systemctl stop rodent; mdadm --manage /dev/md0 --fail $c; sleep 1; \
    mdadm --manage /dev/md0 --remove $c; echo 200000 > /proc/sys/dev/raid/speed_limit_max; mdadm --zero-superblock $b; \
    mdadm --manage /dev/md0 --add $b; mdadm --wait /dev/md0; systemctl start rodent" <<END
Disk $c was taken out of pool md0, it was ONLINE
Disk $b was added to pool md0, state ONLINE
END

step "the agent is away while one fails for good" "systemctl stop rodent; mdadm --manage /dev/md0 --fail $a; systemctl start rodent" <<END
Pool md0 is degraded: ${a#/dev/} FAULTED, 1 of its disks missing
Disk $a is FAULTED in pool md0, it was ONLINE
END

step "it is stopped" "mdadm --stop /dev/md0" <<END
Pool md0 is gone: exported or destroyed
Disk $a was taken out of pool md0, it was FAULTED
END

# A disk of the device mapper whose blocks turn to errors.
dmsetup create sick --table "0 $(blockdev --getsz "$d") linear $d 0"
step "a mirror of a disk that gets sick" "mdadm --create /dev/md1 --run --level=1 --metadata=1.2 --assume-clean --raid-devices=2 /dev/mapper/sick $e" <<END
Pool md1 was imported: md-raid1, 31.0 MiB
END

step "the disk fails by errors" "dmsetup suspend --noflush --nolockfs sick; dmsetup load sick --table '0 $(blockdev --getsz "$d") error'; \
    dmsetup resume sick; dd if=/dev/zero of=/dev/md1 bs=1M count=1 oflag=direct" <<END
Pool md1 is degraded: dm-0 FAULTED, 1 of its disks missing
Disk /dev/dm-0 is FAULTED in pool md1, it was ONLINE
END

exit "$differ"
