#!/usr/bin/env bash
# Installs what the end-to-end tests need and the machine lacks, by apt-get or dnf. Touches nothing when all is there.
set -euo pipefail

fail() { echo "end-to-end tests: $1" >&2; exit 1; }
[ "$(id -u)" = 0 ] || fail "run as root: they boot a container (make check is the part that needs no root)"

# A command the tests call, and the package it is in: on Debian, on Fedora.
needs=(
    "systemd-nspawn systemd-container systemd-container"
    "dbus-daemon dbus dbus-daemon"
    "nsenter util-linux util-linux-core"
    "setpriv util-linux util-linux"
    "losetup mount util-linux-core"
    "mkfs.ext4 e2fsprogs e2fsprogs"
    "mkfs.btrfs btrfs-progs btrfs-progs"
    "python3 python3 python3"
    # Receivers of webhooks: the example, and Standard Webhooks' library for JavaScript.
    "node nodejs nodejs"
    "npm npm nodejs-npm"
    # The server scrapes the programs; its promtool reads pages, rules and queries.
    "prometheus prometheus golang-github-prometheus"
    "promtool prometheus golang-github-prometheus"
    "tmux tmux tmux"
)
if command -v apt-get >/dev/null; then
    needs+=("mmdebstrap mmdebstrap -")
    # Debian has it where only root looks; Fedora has no package of it.
    PATH+=:/usr/sbin:/usr/local/sbin
    needs+=("nats-server nats-server -")
    # For the example of a consumer in Go: the compiler, and what it needs, which has no command.
    needs+=("go golang-go -" "protoc protobuf-compiler -" "protoc-gen-go golang-goprotobuf-dev -")
    command -v nats-server >/dev/null || nats_is_new=yes
    # A receiver of webhooks.
    needs+=("prometheus-alertmanager prometheus-alertmanager -")
    command -v prometheus-alertmanager >/dev/null || alertmanager_is_new=yes
elif ! command -v dnf >/dev/null; then
    fail "neither apt-get nor dnf is here to install packages with"
fi

command -v prometheus >/dev/null || prometheus_is_new=yes

missing() {
    local command debian fedora
    for need in "${needs[@]}"; do
        read -r command debian fedora <<<"$need"
        command -v "$command" >/dev/null || if command -v apt-get >/dev/null; then echo "$debian"; else echo "$fedora"; fi
    done
    if command -v apt-get >/dev/null && [ ! -d /usr/share/gocode/src/google.golang.org/grpc ]; then
        echo golang-google-grpc-dev
    fi
    # Debian keeps the part of venv that makes environments in a package of its own.
    if command -v apt-get >/dev/null && ! python3 -c 'import ensurepip, venv' 2>/dev/null; then echo python3-venv; fi
}

mapfile -t packages < <(missing | sort -u)
if [ ${#packages[@]} -gt 0 ]; then
    echo "end-to-end tests: installing ${packages[*]}"
    if command -v apt-get >/dev/null; then
        # Lists older than a day name packages that mirrors may have dropped.
        if [ -z "$(find /var/lib/apt/lists -maxdepth 1 -name '*Release' -mmin -1440 -print -quit 2>/dev/null)" ]; then
            apt-get update -q || fail "apt-get update did not work; ${packages[*]} cannot be installed"
        fi
        DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${packages[@]}" </dev/null \
            || fail "cannot install ${packages[*]}"
        # The packages start servers for everybody. The tests start their own.
        if [ -n "${nats_is_new:-}" ] && [ -d /run/systemd/system ]; then systemctl disable --now -q nats-server; fi
        if [ -n "${alertmanager_is_new:-}" ] && [ -d /run/systemd/system ]; then
            systemctl disable --now -q prometheus-alertmanager
        fi
        if [ -n "${prometheus_is_new:-}" ] && [ -d /run/systemd/system ]; then systemctl disable --now -q prometheus; fi
    else
        dnf install -y --setopt=install_weak_deps=False "${packages[@]}" </dev/null || fail "cannot install ${packages[*]}"
    fi
fi

mapfile -t packages < <(missing | sort -u)
[ ${#packages[@]} -eq 0 ] || fail "still missing after the installation: ${packages[*]}"
