#!/bin/sh
# rustc as cargo calls it (RUSTC_WRAPPER), made to leave the paths of this machine out of what it builds, and to link with
# Rust's own linker.
#
# A wrapper and not RUSTFLAGS: cargo mixes those into the names of directories, which get into the programs in turn, so
# that two clones would differ. Takes its variables from packaging/build.sh.
rustc=$1
shift
# What is not for a machine that is named runs during the build only.
case " $* " in
    *" --target "*)
        set -- "$@" -Clink-arg="-B$RODENT_LINKER" -Clink-arg=-fuse-ld=lld -Clink-arg=-Wl,--icf=all
        ;;
esac
exec "$rustc" "$@" \
    --remap-path-prefix="$RODENT_SOURCE=." \
    --remap-path-prefix="$RODENT_CARGO=/cargo" \
    --remap-path-prefix="$RODENT_RUST=$RODENT_RUST_NAME"
