#!/bin/bash
# Run by pools.sh on its machine: makes real pools, breaks and mends them. steps.sh says how what is told is compared.
# How long something takes, how much room there is, and how often a scan tells how far it is, depends on the machine.
levelled='/ storage\.pool\.(resilver|scrub)_progress /d; s/, [0-9.]+ % done$//; s/, took [0-9dhms ]+//
    s/(, zfs), [0-9.]+ .?i?B$/\1/; s/ [0-9.]+ .?i?B (used|free|repaired|written)/ some \1/g; s/ [0-9.]+ %/ some %/
    s/[0-9]+(,[0-9]{3})* (read|write|checksum)/some \2/g; s/(read|write|checksum) errors: [0-9]+(,[0-9]{3})*/some \1 errors/g
    s/: \(resilvering\)//; s/( % full,) [0-9.]+ .?i?B of/\1 some of/
    s/in [0-9]+(,[0-9]{3})* of its/in some of its/; s/set by [0-9.,]+ s/set by some s/'
unsure='(scrub|resilver)_started|^warn storage[.]pool[.]capacity' growing=' storage[.]pool[.]errors '
kinds='(storage|usage|system\.host\.clock)[a-z_.]+'
# Two cores that are emulated, on a machine that may have other things to do.
QUIET=8 STEP_MAX=240
. "$(dirname "$0")/steps.sh"

# Disks by what they are for; the names are the kernel's, dealt in the order of the machine's slots.
mirror="vdb vdc" raidz="vdd vde vdf" new=vdg spare=vdh sick=vdi well=vdj alone=vdk
sick_name=sick alone_name=alone
linear() { echo "0 $(blockdev --getsz "/dev/$1") linear /dev/$1 0"; }
error() { echo "0 $(blockdev --getsz "/dev/$1") error"; }
# change NAME TABLE: another table for a disk of the device mapper, at once.
change() { dmsetup suspend --noflush --nolockfs "$1" && dmsetup load "$1" --table "$2" && dmsetup resume "$1"; }
# The slot of a disk is switched off, and all slots are looked through anew.
pull() { echo 1 > "$(realpath "/sys/block/$1/device/..")/remove"; }
plug() { echo 1 > /sys/bus/pci/rescan; }
data() { dd if=/dev/urandom "of=$1" bs=1M "count=$2" status=none; sync; }
hold_scans() { echo "$1" > /sys/module/zfs/parameters/zfs_scan_suspend_progress; }
token() { zfs get -H -o value receive_resume_token "$1"; }
# The agent looks at all there is, as it does after minutes otherwise; it has when it has little to do and asks ZFS nothing.
look() { systemctl restart rodent && await 'rodent status >/dev/null' && await has_looked; }
has_looked() {
    local agent before
    agent=$(systemctl show -p MainPID --value rodent) && before=$(ticks "$agent") && sleep 3
    ! pgrep -P "$agent" -x zfs > /dev/null && (($(ticks "$agent") - before < 100))
}
# What a process has used, hundredths of a second.
ticks() { awk '{ print $14 + $15 }' "/proc/$1/stat"; }
state_of() { zpool list -H -o health "$1"; }

modprobe -a zfs dm-mod
echo "$(uname -r), $(cat /sys/module/zfs/version), $(rodent --version)"
rodent hooks enable zed
systemctl restart zfs-zed
begin

step "a pool of a mirror is made" "zpool create -o ashift=12 tank mirror $mirror" <<END
info storage.dataset.mounted File system tank was mounted at /tank, zfs
info storage.pool.created Pool tank was created
info storage.pool.imported Pool tank was imported: mirror, 240.0 MiB
END

step "a pool of raidz with a spare is made" "zpool create -o ashift=12 wide raidz $raidz spare $spare" <<END
info storage.dataset.mounted File system wide was mounted at /wide, zfs
info storage.pool.created Pool wide was created
info storage.pool.imported Pool wide was imported: raidz1, 704.0 MiB
END

step "data sets are made" "zfs create tank/data; zfs create -V 16M tank/volume; zfs create wide/backup" <<END
info storage.dataset.created Dataset tank/data was created
info storage.dataset.created Dataset tank/volume was created
info storage.dataset.created Dataset wide/backup was created
info storage.dataset.mounted File system tank/data was mounted at /tank/data, zfs
info storage.dataset.mounted File system wide/backup was mounted at /wide/backup, zfs
info storage.dataset.property_changed Dataset tank/volume was changed: refreservation, now 18M
END

step "properties are set" "zfs set compression=zstd tank/data; zfs set atime=off tank/data; zfs set quota=120M tank/data; zfs set sync=always tank/data
    zfs set checksum=sha256 tank/data; zfs set recordsize=64K tank/data; zfs set readonly=on tank/data; zfs inherit readonly tank/data
    zfs inherit compression tank/data; zfs set org.example:owner=anna tank/data; zfs set primarycache=metadata tank/data
    zfs set snapdir=visible tank/data; zfs set copies=2 tank/data; zfs set copies=1 tank/data; zfs set canmount=noauto wide/backup
    zpool set comment=trial tank; zfs set refreservation=none tank/volume" <<END
info storage.dataset.property_changed Dataset tank/data was changed: atime, now off
info storage.dataset.property_changed Dataset tank/data was changed: checksum, now sha256
info storage.dataset.property_changed Dataset tank/data was changed: compression, now on
info storage.dataset.property_changed Dataset tank/data was changed: compression, now zstd
info storage.dataset.property_changed Dataset tank/data was changed: copies, now 1
info storage.dataset.property_changed Dataset tank/data was changed: copies, now 2
info storage.dataset.property_changed Dataset tank/data was changed: org.example:owner, now anna
info storage.dataset.property_changed Dataset tank/data was changed: primarycache, now metadata
info storage.dataset.property_changed Dataset tank/data was changed: quota, now 120M
info storage.dataset.property_changed Dataset tank/data was changed: readonly, now off
info storage.dataset.property_changed Dataset tank/data was changed: readonly, now on
info storage.dataset.property_changed Dataset tank/data was changed: recordsize, now 64K
info storage.dataset.property_changed Dataset tank/data was changed: snapdir, now visible
info storage.dataset.property_changed Dataset tank/data was changed: sync, now always
info storage.dataset.property_changed Dataset tank/volume was changed: refreservation, now none
info storage.dataset.property_changed Dataset wide/backup was changed: canmount, now noauto
END

step "snapshots" "data /tank/data/file 40; zfs snapshot tank/data@one; zfs snapshot -r tank@all; zfs destroy tank/volume@all; zfs hold keep tank/data@one" <<END
info storage.snapshot.created Snapshot tank/data@all was created
info storage.snapshot.created Snapshot tank/data@one was created
info storage.snapshot.created Snapshot tank/volume@all was created
info storage.snapshot.created Snapshot tank@all was created
info storage.snapshot.deleted Snapshot tank/volume@all was destroyed
END

step "clone, promote, rename, roll back" "zfs clone tank/data@one tank/clone; zfs promote tank/clone; zfs promote tank/data; zfs rename tank/clone tank/copy
    rm /tank/data/file; zfs rollback tank/data@all; zfs destroy tank/copy" <<END
info storage.dataset.mounted File system tank/clone was mounted at /tank/clone, zfs
info storage.dataset.mounted File system tank/copy was mounted at /tank/copy, zfs
info storage.dataset.property_changed Dataset tank/clone was changed: name, now tank/copy
info storage.dataset.unmounted File system tank/clone was unmounted from /tank/clone
info storage.dataset.unmounted File system tank/copy was unmounted from /tank/copy
info storage.snapshot.cloned Snapshot tank/data@one was cloned to tank/clone
warn storage.dataset.deleted Dataset tank/copy was destroyed
warn storage.snapshot.rolled_back Dataset tank/data was rolled back
END

step "a stream is sent and received" "zfs send tank/data@one | zfs receive wide/backup/data" <<END
info storage.dataset.mounted File system wide/backup/data was mounted at /wide/backup/data, zfs
info storage.snapshot.created Snapshot wide/backup/data@one was created
info storage.transfer.completed Transfer to wide/backup/data is complete
info storage.transfer.started Transfer to wide/backup/data has started
END

step "what came since is sent" "data /tank/data/more 10; zfs snapshot tank/data@two; zfs send -I @one tank/data@two | zfs receive -F wide/backup/data" <<END
info storage.snapshot.created Snapshot tank/data@two was created
info storage.snapshot.created Snapshot wide/backup/data@all was created
info storage.snapshot.created Snapshot wide/backup/data@two was created
info storage.transfer.completed Transfer to wide/backup/data is complete
info storage.transfer.completed Transfer to wide/backup/data is complete
info storage.transfer.started Transfer to wide/backup/data has started
info storage.transfer.started Transfer to wide/backup/data has started
END

step "a stream that is torn" "zfs send tank/data@one | head -c 20M | zfs receive wide/backup/torn; true" <<END
info storage.transfer.started Transfer to wide/backup/torn has started
error storage.transfer.failed Transfer to wide/backup/torn has failed
wrong error wide/backup/torn: Transfer to wide/backup/torn has failed
END

step "it is sent anew" "zfs send tank/data@one | zfs receive wide/backup/torn" <<END
info storage.dataset.mounted File system wide/backup/torn was mounted at /wide/backup/torn, zfs
info storage.snapshot.created Snapshot wide/backup/torn@one was created
info storage.transfer.started Transfer to wide/backup/torn has started
info storage.transfer.completed Transfer to wide/backup/torn is complete
END

step "a stream of what came since that is torn" "zfs snapshot tank/data@three; data /tank/data/again 20; zfs snapshot tank/data@four
    zfs send -I @two tank/data@four | head -c 8M | zfs receive -F wide/backup/data; true" <<END
info storage.snapshot.created Snapshot tank/data@four was created
info storage.snapshot.created Snapshot tank/data@three was created
info storage.snapshot.created Snapshot wide/backup/data@three was created
info storage.transfer.completed Transfer to wide/backup/data is complete
info storage.transfer.started Transfer to wide/backup/data has started
info storage.transfer.started Transfer to wide/backup/data has started
error storage.transfer.failed Transfer to wide/backup/data has failed
wrong error wide/backup/data: Transfer to wide/backup/data has failed
END

step "it comes whole" "zfs send -i @three tank/data@four | zfs receive -F wide/backup/data" <<END
info storage.snapshot.created Snapshot wide/backup/data@four was created
info storage.transfer.completed Transfer to wide/backup/data is complete
info storage.transfer.started Transfer to wide/backup/data has started
END

step "a stream that is torn and can be resumed" "zfs send tank/data@one | head -c 20M | zfs receive -s wide/backup/half; look; look" <<END
info storage.transfer.started Transfer to wide/backup/half has started
error storage.transfer.failed Transfer to wide/backup/half has failed
wrong error wide/backup/half: Transfer to wide/backup/half has failed
END

step "it is resumed" "zfs send -t \$(token wide/backup/half) | zfs receive -s wide/backup/half; look" <<END
info storage.dataset.mounted File system wide/backup/half was mounted at /wide/backup/half, zfs
info storage.snapshot.created Snapshot wide/backup/half@one was created
info storage.transfer.started Transfer to wide/backup/half has started
info storage.transfer.completed Transfer to wide/backup/half is complete
END

step "one that can be resumed is given up" "zfs send tank/data@one | head -c 20M | zfs receive -s wide/backup/over; look; look
    zfs receive -A wide/backup/over; look" <<END
info storage.transfer.started Transfer to wide/backup/over has started
error storage.transfer.failed Transfer to wide/backup/over has failed
warn storage.dataset.deleted Dataset wide/backup/over was destroyed
info storage.transfer.cancelled Transfer to wide/backup/over was cancelled
END

step "data sets are destroyed" "zfs release keep tank/data@one; zfs destroy -r wide/backup; zfs destroy -r tank/volume" <<END
info storage.dataset.unmounted File system wide/backup was unmounted from /wide/backup
info storage.dataset.unmounted File system wide/backup/data was unmounted from /wide/backup/data
info storage.dataset.unmounted File system wide/backup/half was unmounted from /wide/backup/half
info storage.dataset.unmounted File system wide/backup/torn was unmounted from /wide/backup/torn
info storage.snapshot.deleted Snapshot wide/backup/data@all was destroyed
info storage.snapshot.deleted Snapshot wide/backup/data@four was destroyed
info storage.snapshot.deleted Snapshot wide/backup/data@one was destroyed
info storage.snapshot.deleted Snapshot wide/backup/data@three was destroyed
info storage.snapshot.deleted Snapshot wide/backup/data@two was destroyed
info storage.snapshot.deleted Snapshot wide/backup/half@one was destroyed
info storage.snapshot.deleted Snapshot wide/backup/torn@one was destroyed
warn storage.dataset.deleted Dataset tank/volume was destroyed
warn storage.dataset.deleted Dataset wide/backup was destroyed
warn storage.dataset.deleted Dataset wide/backup/data was destroyed
warn storage.dataset.deleted Dataset wide/backup/half was destroyed
warn storage.dataset.deleted Dataset wide/backup/torn was destroyed
END

step "a quota is reached, and the agent's next look" "data /tank/data/much 90; dd if=/dev/urandom of=/tank/data/toomuch bs=1M count=60; look" <<END
error usage.threshold.exceeded Data set tank/data is over its limit: some % of its quota used, limit 90, some used, some free
wrong error quota:tank/data: Data set tank/data is over its limit: some % of its quota used, limit 90, some used, some free
END

step "and left" "rm /tank/data/toomuch /tank/data/much; sync; sleep 10; look" <<END
info usage.threshold.cleared Data set tank/data is no longer near its limit: some % of its quota used, warning from 80, some used, some free
END

step "a pool is scrubbed" "hold_scans 1; zpool scrub tank; sleep 15; hold_scans 0; zpool wait -t scrub tank" <<END
info storage.pool.scrub_completed Pool tank was scrubbed
info storage.pool.scrub_started Pool tank is being scrubbed
END

step "a scrub is paused, goes on and is cancelled" "hold_scans 1; zpool scrub tank; sleep 12; zpool scrub -p tank; sleep 12; zpool scrub tank; sleep 12; zpool scrub -s tank; hold_scans 0" <<END
info storage.pool.scrub_cancelled Pool tank had its scrub cancelled
info storage.pool.scrub_paused Pool tank had its scrub paused
info storage.pool.scrub_started Pool tank is being scrubbed
info storage.pool.scrub_started Pool tank is being scrubbed, after a pause
END

step "a scrub repairs what a disk has forgotten" "dd if=/dev/urandom of=/dev/vdc1 bs=1M seek=16 count=160 conv=notrunc oflag=direct; zpool scrub -w tank" <<END
error storage.pool.errors Pool tank has errors: vdc1 (some checksum errors)
info storage.pool.scrub_completed Pool tank was scrubbed, some repaired
info storage.pool.scrub_started Pool tank is being scrubbed
wrong error tank: Pool tank has errors: vdc1 (some checksum errors)
END

step "its errors are cleared" "zpool clear tank" <<END
info storage.pool.errors_cleared Pool tank has no errors any more
END

step "a disk is taken offline" "zpool offline tank vdc" <<END
error storage.pool.degraded Pool tank is degraded: vdc1 OFFLINE
warn storage.disk.state_changed Disk vdc1 is OFFLINE in pool tank, it was ONLINE
wrong error tank: Pool tank is degraded: vdc1 OFFLINE
wrong warn vdc1: Disk vdc1 is OFFLINE in pool tank, it was ONLINE
END

step "it is back online" "zpool online tank vdc" <<END
info storage.disk.state_changed Disk vdc1 is ONLINE in pool tank, it was OFFLINE
info storage.pool.online Pool tank is online again
info storage.pool.resilver_completed Pool tank was rebuilt, some written
END

step "a disk is pulled out" "pull vdc; sleep 10; data /tank/file 5" <<END
error storage.disk.state_changed Disk vdc1 is REMOVED in pool tank, it was ONLINE
error storage.pool.degraded Pool tank is degraded: vdc1 REMOVED
warn storage.disk.removed Disk /dev/vdc was removed, serial disk1
wrong error tank: Pool tank is degraded: vdc1 REMOVED
wrong error vdc1: Disk vdc1 is REMOVED in pool tank, it was ONLINE
END

step "another takes its place, slowly" "hold_scans 1; zpool replace tank vdc $new; sleep 15" <<END
info storage.disk.added_to_pool Disk vdg1 was added to pool tank, state ONLINE
info storage.pool.resilver_started Pool tank is being rebuilt
wrong error tank: Pool tank is degraded: vdc1 REMOVED
wrong error vdc1: Disk vdc1 is REMOVED in pool tank, it was ONLINE
END

step "it has taken it" "hold_scans 0; zpool wait -t replace tank" <<END
info storage.disk.removed_from_pool Disk vdc1 was taken out of pool tank, it was REMOVED
info storage.pool.online Pool tank is online again
info storage.pool.resilver_completed Pool tank was rebuilt, some written
END

step "the pulled one comes back" "plug; sleep 5" <<END
info storage.disk.discovered Disk /dev/vdc was found, 256.0 MiB, serial disk1
END

step "a disk of the raidz fails, and the spare goes in" "data /wide/file 40; zpool offline -f wide vde; sleep 20; zpool wait -t resilver wide" <<END
error storage.disk.state_changed Disk vde1 is FAULTED in pool wide, it was ONLINE: external device fault
error storage.pool.degraded Pool wide is degraded: vde1 FAULTED
info storage.disk.state_changed Disk vdh1 is ONLINE in pool wide, it was AVAIL
info storage.pool.resilver_completed Pool wide was rebuilt, some written
wrong error vde1: Disk vde1 is FAULTED in pool wide, it was ONLINE: external device fault
wrong error wide: Pool wide is degraded: vde1 FAULTED
END

step "the disk is well again, and the spare goes back" "zpool clear wide vde; zpool online wide vde; sleep 5; zpool wait -t resilver wide; sleep 5; zpool detach wide $spare || true" <<END
info storage.disk.state_changed Disk vde1 is ONLINE in pool wide, it was FAULTED
info storage.disk.state_changed Disk vdh1 is AVAIL in pool wide, it was ONLINE
info storage.pool.online Pool wide is online again
info storage.pool.resilver_completed Pool wide was rebuilt, some written
END

step "a mirror of a disk that gets sick" "dmsetup create $sick_name --table '$(linear $sick)'; zpool create -o ashift=12 ill mirror /dev/mapper/$sick_name /dev/$well; data /ill/file 10" <<END
info storage.dataset.mounted File system ill was mounted at /ill, zfs
info storage.pool.created Pool ill was created
info storage.pool.imported Pool ill was imported: mirror, 240.0 MiB
END

step "the disk fails by errors" "change $sick_name '$(error $sick)'; data /ill/other 10; sleep 20; data /ill/third 10" <<END
error storage.disk.state_changed Disk sick is FAULTED in pool ill, it was ONLINE: too many errors, some read errors, some write errors
error storage.pool.degraded Pool ill is degraded: sick FAULTED (some read, some write errors)
error storage.pool.errors Pool ill has errors: sick FAULTED (some read, some write errors)
wrong error ill: Pool ill has errors: sick FAULTED (some read, some write errors)
wrong error ill: Pool ill is degraded: sick FAULTED (some read, some write errors)
wrong error sick: Disk sick is FAULTED in pool ill, it was ONLINE: too many errors, some read errors, some write errors
END

step "the sick one is well again" "change $sick_name '$(linear $sick)'; zpool clear ill; sleep 5; zpool wait -t resilver ill" <<END
info storage.disk.state_changed Disk sick is ONLINE in pool ill, it was FAULTED
info storage.pool.errors_cleared Pool ill has no errors any more
info storage.pool.online Pool ill is online again
info storage.pool.resilver_completed Pool ill was rebuilt, some written
END

step "a pool of one disk is suspended by its errors" "dmsetup create $alone_name --table '$(linear $alone)'; zpool create -o ashift=12 single /dev/mapper/$alone_name
    sleep 20; change $alone_name '$(error $alone)'; (dd if=/dev/urandom of=/single/file bs=1M count=10 conv=fsync &) ; await '[ \$(state_of single) = SUSPENDED ]'" <<END
critical storage.pool.errors Pool single has errors and lost data in some of its files: alone (some read, some write errors)
critical storage.pool.suspended Pool single is suspended, reads and writes hang: alone (some read, some write errors)
info storage.dataset.mounted File system single was mounted at /single, zfs
info storage.pool.created Pool single was created
info storage.pool.imported Pool single was imported: stripe, 1.9 GiB
wrong critical single: Pool single has errors and lost data in some of its files: alone (some read, some write errors)
wrong critical single: Pool single is suspended, reads and writes hang: alone (some read, some write errors)
END

step "and resumed" "change $alone_name '$(linear $alone)'; zpool clear single; await '[ \$(state_of single) = ONLINE ]'; sync" <<END
info storage.pool.errors_cleared Pool single has no errors any more
info storage.pool.online Pool single is online again
info storage.pool.resilver_completed Pool single was rebuilt, some written
END

step "a pool fills past its thresholds" "data /single/much 1600; sleep 15; data /single/more 140" <<END
error storage.pool.capacity Pool single is some % full, some of 1.9 GiB
warn storage.pool.capacity Pool single is some % full, some of 1.9 GiB
wrong error single: Pool single is some % full, some of 1.9 GiB
END

step "and back" "rm /single/m*; sync; sleep 10; sync" <<END
info storage.pool.capacity Pool single is some % full, some of 1.9 GiB
END

step "a pool is exported" "zpool export single" <<END
info storage.dataset.unmounted File system single was unmounted from /single
info storage.pool.exported Pool single is gone: exported or destroyed
END

step "and imported" "zpool import -d /dev/mapper single" <<END
info storage.dataset.mounted File system single was mounted at /single, zfs
info storage.pool.imported Pool single was imported: stripe, 1.9 GiB
END

step "the agent is away while a disk fails and is well again" "systemctl stop rodent; zpool offline tank vdb; zpool online tank vdb; zpool wait -t resilver tank; systemctl start rodent; sleep 10" <<END
info storage.pool.resilver_completed Pool tank was rebuilt, some written
END

step "the agent is away while one fails for good" "systemctl stop rodent; zpool offline tank vdb; systemctl start rodent; sleep 10" <<END
error storage.pool.degraded Pool tank is degraded: vdb1 OFFLINE
warn storage.disk.state_changed Disk vdb1 is OFFLINE in pool tank, it was ONLINE
wrong error tank: Pool tank is degraded: vdb1 OFFLINE
wrong warn vdb1: Disk vdb1 is OFFLINE in pool tank, it was ONLINE
END

step "it is back" "zpool online tank vdb; zpool wait -t resilver tank" <<END
info storage.disk.state_changed Disk vdb1 is ONLINE in pool tank, it was OFFLINE
info storage.pool.online Pool tank is online again
info storage.pool.resilver_completed Pool tank was rebuilt, some written
END

step "a pool is destroyed" "zpool destroy ill" <<END
info storage.dataset.unmounted File system ill was unmounted from /ill
info storage.pool.exported Pool ill is gone: exported or destroyed
warn storage.pool.deleted Pool ill was destroyed
END

# That is what somebody sets it by has ended with it: the kernel takes it for one that nothing keeps.
step "the clock is set" "date -s '+1 hour'" <<END
warn system.host.clock_stepped Clock was set by some seconds
warn system.host.clock_unsynchronised Clock is not synchronised: times of events may be wrong
wrong warn wall clock: Clock is not synchronised: times of events may be wrong
END

step "something keeps it again" "keep_clock" <<END
info system.host.clock_synchronised Clock is synchronised again
END

finish
