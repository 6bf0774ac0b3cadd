#!/usr/bin/env bash
# Shows that the packages of the machines named in target/packages come from the commit that is checked out: makes them
# again from a clone in another directory, whose name is of another length, and compares them byte by byte.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() { echo "reproduce: $1" >&2; exit 1; }

[ -z "$(git status --porcelain)" ] || fail "there are changes that are not committed; commit them and make packages first"

directory=$(mktemp --directory --tmpdir rodent-made-once-more.XXXXXX)
trap 'rm -rf "$directory"' EXIT
trap 'exit 130' INT TERM
git clone --quiet . "$directory/clone"
mkdir "$directory/clone/target"
# The packagers are the same; what they pack is not.
cp -r target/tools "$directory/clone/target/"
make --no-print-directory -C "$directory/clone" packages MACHINES="$*"

differ=0
for made in "$directory"/clone/target/packages/*.deb "$directory"/clone/target/packages/*.rpm; do
    package=target/packages/${made##*/}
    [ -e "$package" ] || fail "$package is not there; make packages first"
    if cmp "$package" "$made"; then
        echo "the same: $package"
    else
        differ=1
    fi
done
[ $differ = 0 ] || fail "the packages differ"
