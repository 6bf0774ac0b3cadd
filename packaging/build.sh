#!/usr/bin/env bash
# Builds both programs for the machines named (x86_64, aarch64), as the packages carry them: profile dist, the same bytes
# from every directory. Leaves them in target/TRIPLE/dist.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo=${CARGO:-cargo}
# One set of features for both programs, so that the library is built once. What the agent does not call, the linker drops.
features=systemd,kernel,sqlite,nats
host=$(rustc -vV | sed -n 's/^host: //p')

export RODENT_SOURCE=$PWD RODENT_CARGO=${CARGO_HOME:-$HOME/.cargo}
# As the library comes compiled, whether its source is installed or not.
RODENT_RUST=$(rustc --print sysroot)/lib/rustlib/src/rust
RODENT_RUST_NAME=/rustc/$(rustc -vV | sed -n 's/^commit-hash: //p')
# Rust's own linker, for both machines: it folds functions that are the same.
RODENT_LINKER=$(rustc --print sysroot)/lib/rustlib/$host/bin/gcc-ld
[ -d "$RODENT_LINKER" ] || { echo "packages: $RODENT_LINKER, the linker of rustup's toolchains, is not here" >&2; exit 1; }
export RODENT_RUST RODENT_RUST_NAME RODENT_LINKER
export RUSTC_WRAPPER=$PWD/packaging/rustc.sh
# Flags of this machine's owner would change the bytes.
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_RUSTFLAGS CARGO_INCREMENTAL

# zstd without what nothing here calls: the searches of levels above 2, and the formats from before its first release; and small:
# one copy of each loop, and one of the two ways to read a table.
zstd="-DZSTD_LEGACY_SUPPORT=0 -DDYNAMIC_BMI2=0 -DZSTD_STRIP_ERROR_STRINGS=1"
zstd+=" -DHUF_FORCE_DECOMPRESS_X1 -DZSTD_FORCE_DECOMPRESS_SEQUENCES_SHORT"
for search in DFAST GREEDY LAZY LAZY2 BTLAZY2 BTOPT BTULTRA; do
    zstd+=" -DZSTD_EXCLUDE_${search}_BLOCK_COMPRESSOR"
done

targets=()
for machine in "$@"; do
    triple=$machine-unknown-linux-gnu
    targets+=(--target "$triple")
    name=${triple//-/_}
    # C sources (ring, zstd, SQLite) name themselves in assertions.
    export "CFLAGS_$name=-ffile-prefix-map=$RODENT_SOURCE=. -ffile-prefix-map=$RODENT_CARGO=/cargo $zstd"
    if [ "$triple" != "$host" ]; then
        export "CARGO_TARGET_${name^^}_LINKER=$machine-linux-gnu-gcc"
        export "CC_$name=$machine-linux-gnu-gcc" "AR_$name=$machine-linux-gnu-ar"
    fi
done
# Always with --target, also for this machine: so what runs during the build is built once for all.
"$cargo" build --locked --profile dist --no-default-features --features "$features" --bin rodent --bin rodent-controller "${targets[@]}"
