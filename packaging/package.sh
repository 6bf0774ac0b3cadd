#!/usr/bin/env bash
# Packs what was built for the machines named into target/packages, as .deb and .rpm; compiles nothing. With VERSION=X.Y.Z
# the packages have that version and lie in target/packages/X.Y.Z: to try an upgrade. INTO=DIRECTORY puts them elsewhere.
set -euo pipefail
cd "$(dirname "$0")/.."
# All that a package says about time is the time of the commit.
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}

# On every appliance, and sent to each.
agent_deb_bytes_max=$((5 * 1024 * 1024))

version=${VERSION:-$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -1)}
into=${INTO:-target/packages${VERSION:+/$VERSION}}
mkdir -p "$into"
PATH=$PWD/target/tools/bin:$PATH

# A package tells when each of its files was changed. The packagers put younger files back to the commit; older ones, of a
# tree that was checked out before, are brought forward to it here.
programs=()
for machine in "$@"; do
    programs+=("target/$machine-unknown-linux-gnu/dist"/rodent{,-controller})
done
find README.md LICENSE docs packaging systemd target/packages/documents "${programs[@]}" -type f ! -newermt "@$SOURCE_DATE_EPOCH" \
    -exec touch --date "@$SOURCE_DATE_EPOCH" {} +

for machine in "$@"; do
    triple=$machine-unknown-linux-gnu
    rm -f "$into"/*_"${machine/x86_64/amd64}".deb "$into"/*."$machine".rpm
    [ "$machine" != aarch64 ] || rm -f "$into"/*_arm64.deb
    for variant in "" controller; do
        # Stripped by the build, so that both forms carry the same bytes.
        cargo-deb --quiet --no-build --no-strip --target "$triple" --profile dist ${variant:+--variant $variant} \
            --deb-version "$version-1" --output "$into/"
        cargo-generate-rpm --target "$triple" --profile dist ${variant:+--variant $variant} \
            --set-metadata "version = \"$version\"" --payload-compress zstd --output "$into/"
    done
done

for package in "$into"/*.deb "$into"/*.rpm; do
    bytes=$(stat -c %s "$package")
    printf '%9d %s\n' "$bytes" "$package"
    case $package in
        */rodent_*.deb) [ "$bytes" -le $agent_deb_bytes_max ] || { echo "packages: it has more than $agent_deb_bytes_max bytes" >&2; exit 1; } ;;
    esac
done
