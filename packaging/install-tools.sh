#!/usr/bin/env bash
# Installs what `make packages` and `make test-packages` need for the machines named and this one lacks: system packages by
# apt-get, rustup's standard library and a C compiler for a machine that is not this one, and cargo's packagers into
# target/tools. Touches nothing when all is there.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() { echo "packages: $1" >&2; exit 1; }

host=$(rustc -vV | sed -n 's/^host: \([^-]*\)-.*/\1/p')
# The Debian names of the machines that packages are made for.
declare -A debian=([x86_64]=amd64 [aarch64]=arm64)
[ -n "${debian[$host]:-}" ] || fail "neither x86_64 nor aarch64 is here, but $host"
[ $# -gt 0 ] || fail "say for which machines: x86_64, aarch64"
others=()
for machine in "$@"; do
    [ -n "${debian[$machine]:-}" ] || fail "$machine is neither x86_64 nor aarch64"
    [ "$machine" = "$host" ] || others+=("$machine")
done

# A command that is called, and the Debian package it is in.
needs=(
    "readelf binutils"
    "lintian lintian"
    "rpm rpm"
    "rpmlint rpmlint"
    "mandoc mandoc"
    "man man-db"
    "dpkg-deb dpkg"
    "python3 python3"
)
for other in "${others[@]}"; do
    needs+=("$other-linux-gnu-gcc gcc-${other//_/-}-linux-gnu" "qemu-$other-static qemu-user-static")
done

missing() {
    local command package other
    for need in "${needs[@]}"; do
        read -r command package <<<"$need"
        command -v "$command" >/dev/null || echo "$package"
    done
    # Headers and libraries of the other machine's C library.
    for other in "${others[@]}"; do
        [ -e "/usr/$other-linux-gnu/include/stdio.h" ] || echo "libc6-dev-${debian[$other]}-cross"
    done
}

mapfile -t packages < <(missing | sort -u)
if [ ${#packages[@]} -gt 0 ]; then
    echo "packages: installing ${packages[*]}"
    command -v apt-get >/dev/null || fail "packages are built on Debian; apt-get is not here to install ${packages[*]}"
    [ "$(id -u)" = 0 ] || fail "as root: apt-get install ${packages[*]}"
    # Lists older than a day name packages that mirrors may have dropped.
    if [ -z "$(find /var/lib/apt/lists -maxdepth 1 -name '*Release' -mmin -1440 -print -quit 2>/dev/null)" ]; then
        apt-get update -q || fail "apt-get update did not work; ${packages[*]} cannot be installed"
    fi
    DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${packages[@]}" </dev/null \
        || fail "cannot install ${packages[*]}"
fi
mapfile -t packages < <(missing | sort -u)
[ ${#packages[@]} -eq 0 ] || fail "still missing after the installation: ${packages[*]}"

for other in "${others[@]}"; do
    library=$(rustc --print sysroot)/lib/rustlib/$other-unknown-linux-gnu/lib
    if ! compgen -G "$library/libstd-*.rlib" >/dev/null; then
        command -v rustup >/dev/null || fail "rustc has no standard library for $other, and rustup is not here to get it"
        rustup target add "$other-unknown-linux-gnu" || fail "rustup cannot get the standard library for $other"
    fi
done

# The versions are part of what makes packages: another may write other bytes.
packagers=()
for packager in cargo-deb@3.8.0 cargo-generate-rpm@0.21.1; do
    program=target/tools/bin/${packager%@*}
    { [ -x "$program" ] && grep -q "\"${packager/@/ } " target/tools/.crates2.json; } || packagers+=("$packager")
done
if [ ${#packagers[@]} -gt 0 ]; then
    echo "packages: building ${packagers[*]} into target/tools"
    # Their own directory of objects, so that a second try goes on where the first ended. They run for seconds, so they
    # are optimised a little; what compresses asks for more itself.
    export CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_LTO=off
    "${CARGO:-cargo}" install --locked --quiet --root target/tools --target-dir target/tools/build "${packagers[@]}" \
        || fail "cannot build ${packagers[*]}"
    rm -rf target/tools/build
fi
