#!/usr/bin/env bash
# Writes what the packages carry beside programs and that is made from them, into target/packages/documents: man pages,
# completions, third-party licences, changelog. The program that does it is a plain build for this machine.
set -euo pipefail
cd "$(dirname "$0")/.."
# All that a package says about time is the time of the commit.
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}

cargo=${CARGO:-cargo}
into=target/packages/documents
triples=(--filter-platform x86_64-unknown-linux-gnu --filter-platform aarch64-unknown-linux-gnu)

rm -rf "$into"
mkdir -p "$into"
# The features of packaging/build.sh: what they link in is what has to be named.
"$cargo" metadata --locked --format-version 1 --no-default-features --features systemd,kernel,sqlite,nats "${triples[@]}" >"$into/metadata.json"
# As the tests have it, with which cargo builds every program: so nothing is built twice.
# Without the epoch, for which C libraries would be compiled anew.
env -u SOURCE_DATE_EPOCH "$cargo" test --locked --quiet --all-features --no-run --test tidy
"${CARGO_TARGET_DIR:-target}/debug/rodent-documents" \
    --metadata "$into/metadata.json" --date "$(date -u -d "@$SOURCE_DATE_EPOCH" +%F)" "$into"
rm "$into/metadata.json"
cp packaging/debian/changelog "$into/changelog"
# -n: neither name nor time.
find "$into/man" "$into/changelog" "$into/third-party-licences" -type f -exec gzip -9n {} +
