#!/usr/bin/env bash
# Checks the programs that packaging/build.sh has made for the machines named: weight, the C library that they need, what
# they must not carry. Says everything that is wrong, and fails.
set -euo pipefail
cd "$(dirname "$0")/.."

# The agent is on every appliance, beside what the appliance is for.
agent_bytes_max=$((12 * 1024 * 1024))
# What it may grow by before somebody has to say so in packaging/size.
growth_bytes_max=$((64 * 1024))
# Debian 12 has 2.36, RHEL 9 and its like have 2.34.
glibc_max=2.34

wrong=0
complain() { echo "packages: $1" >&2; wrong=1; }

for machine in "$@"; do
    for program in rodent rodent-controller; do
        path=target/$machine-unknown-linux-gnu/dist/$program
        bytes=$(stat -c %s "$path")
        echo "$program for $machine: $bytes bytes"
        if [ $program = rodent ]; then
            echo "  $((agent_bytes_max - bytes)) bytes are left of what it may weigh"
            [ "$bytes" -le $agent_bytes_max ] || complain "$path has $bytes bytes, more than $agent_bytes_max"
            before=$(sed -n "s/^$machine //p" packaging/size)
            if [ -n "$before" ]; then
                printf '  %+d bytes since packaging/size was written\n' $((bytes - before))
                [ $((bytes - before)) -le $growth_bytes_max ] ||
                    complain "$path has grown from $before bytes; write \"$machine $bytes\" into packaging/size, and why into the commit"
            else
                echo "  packaging/size has no figure to compare with; write \"$machine $bytes\" into it"
            fi
            # The library has both; the linker drops them because the agent calls neither.
            for foreign in "SQLite format 3" '$JS.API'; do
                ! grep -qaF "$foreign" "$path" || complain "$path carries a store of the controller: $foreign"
            done
        fi
        newer=$(readelf -W --dyn-syms "$path" | sed -n 's/.* \([^ ]*\)@GLIBC_\([0-9.]*\).*/\2 \1/p' | while read -r version symbol; do
            [ "$(printf '%s\n' "$version" $glibc_max | sort -V | tail -1)" = $glibc_max ] || printf '%s@%s ' "$symbol" "$version"
        done)
        [ -z "$newer" ] || complain "$path needs a C library newer than $glibc_max: $newer"
        for place in "$PWD" "${CARGO_HOME:-$HOME/.cargo}" "$(rustc --print sysroot)"; do
            ! grep -qaF "$place" "$path" || complain "$path names $place of the machine it was built on"
        done
    done
done
exit $wrong
