# What the trials on machines of their own have in common: arrays.sh and pools.sh read this file with `.` and say what differs, which
# is the kernel and how it is started. The order: begin, prepare, make_image, follow.
# shellcheck shell=bash
set -euo pipefail

# begin PROGRAMS: looks whether a trial can be made here. Sets `programs`, and `work`, where everything made is kept.
begin() {
    programs=$1
    [ "$(id -u)" = 0 ] || { echo "run as root: it makes a root file system" >&2; exit 1; }
    [ -x "$programs/rodent" ] || { echo "no $programs/rodent: cargo build --all-features" >&2; exit 1; }
    work=${CARGO_TARGET_DIR:-target}/tiers
    mkdir -p "$work"
    work=$(realpath "$work")
}

# prepare ROOT TRIAL: a copy of a root file system, for what differs from run to run: the agent as its package installs it, and the
# trial, which begins when the machine has booted and switches it off. Sets `machine`.
prepare() {
    machine=$work/$2.root image=$work/$2.img console=$work/$2.console
    rm -rf "$machine" && cp -a --reflink=auto "$1" "$machine"
    mkdir -p "$machine"/usr/lib/{sysusers.d,tmpfiles.d,rodent/hooks} "$machine/etc/rodent" "$machine/usr/local/lib/trial"
    strip -o "$machine/usr/bin/rodent" "$programs/rodent"
    cp packaging/sysusers.d/rodent.conf "$machine/usr/lib/sysusers.d/"
    cp packaging/tmpfiles.d/rodent.conf "$machine/usr/lib/tmpfiles.d/"
    cp systemd/rodent.service "$machine/usr/lib/systemd/system/"
    install -m 755 packaging/hooks/* "$machine/usr/lib/rodent/hooks/"
    # Quick where the defaults are made for machines that nobody looks at.
    cat > "$machine/etc/rodent/rodent.yml" <<'SETTINGS'
events: {flush_interval: 100ms}
collectors: {storage: {capacity: {interval: 5s}, pools: {interval: 5s}}}
SETTINGS
    cp tests/tiers/steps.sh "tests/tiers/$2-inside.sh" "$machine/usr/local/lib/trial/"
    cat > "$machine/etc/systemd/system/trial.service" <<UNIT
[Unit]
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/bin/bash -c '/usr/local/lib/trial/$2-inside.sh; echo "ended with \$\$?"; sync; poweroff -f'
StandardOutput=file:/dev/console
StandardError=file:/dev/console
[Install]
WantedBy=multi-user.target
UNIT
    ln -sf ../trial.service "$machine/etc/systemd/system/multi-user.target.wants/trial.service"
}

# make_image SIZE: the disk that the machine boots from.
make_image() {
    rm -f "$image" && truncate -s "$1" "$image"
    mke2fs -q -t ext4 -d "$machine" "$image"
    rm -rf "$machine"
}

# follow PROCESS SECONDS: waits until the machine is off, prints what its trial has said, and ends with 0 when all was told that had to
# be. PROCESS leads a group of its own.
follow() {
    local second
    # shellcheck disable=SC2064
    trap "kill -s KILL -- -$1 2> /dev/null || true; rm -f '$image'" EXIT
    for ((second = 0; second < $2; second++)); do
        kill -s 0 "$1" 2> /dev/null || break
        sleep 1
    done
    tr -d '\r' < "$console" | sed -n '/^== /,$p'
    grep -q '^ended with 0' <(tr -d '\r' < "$console") && return
    echo "the console is kept: $console" >&2
    return 1
}
