# Two ways to prove the tree: `make check` as anyone, `make test` (everything) as root. One feature set for all of it,
# so that nothing is built twice.

CARGO ?= cargo
# Most tests wait: for a peer, a timer, a machine that boots. With more threads than processors they wait beside each other.
export RUST_TEST_THREADS ?= 8
# Every test binary but e2e.
checked := it log outage $(basename $(notdir $(wildcard tests/*.rs)))

.PHONY: test check test-long lint packages repackage reproduce test-packages

# Packages (.deb, .rpm) for each of these, into target/packages.
MACHINES ?= x86_64 aarch64

# Everything but the packages, end to end included. Needs root; installs the system packages it needs; fails where it
# cannot run.
test:
	tests/e2e/install.sh
	$(CARGO) test --all-features --no-fail-fast -- --skip packages::

# What needs no root: leaves the end-to-end tests and the modules `as_root` out.
check:
	$(CARGO) test --all-features --no-fail-fast --lib --bins $(addprefix --test ,$(checked)) -- --skip as_root::
	$(CARGO) test --all-features --doc

# The trials of the event log at full size, and those on machines with real arrays and pools (docs/measuring.md); `make test` and
# .ci/run take the first at a size for every change. Needs root.
test-long:
	RODENT_TRIALS=500 $(CARGO) test --all-features --test log -- kill:: --nocapture
	RODENT_TRIALS=200 $(CARGO) test --all-features --test log -- power:: --nocapture
	RODENT_FAULTS_EVERY=1 $(CARGO) test --all-features --test log_faults
	RODENT_TRIALS=2500 $(CARGO) test --all-features --test log_damage -- flips:: --nocapture
	RODENT_TRIALS=100 $(CARGO) test --all-features --test it -- webhook::trial --nocapture
	RODENT_EVENTS_CONSUMED=100000 $(CARGO) test --all-features --test e2e -- consuming::
	$(CARGO) build --all-features
	tests/tiers/arrays.sh
	tests/tiers/pools.sh

lint:
	$(CARGO) fmt --check
	$(CARGO) clippy --all-features --all-targets -- -D warnings

# Installs the tools that it needs and are missing: as root, if any are.
packages:
	packaging/install-tools.sh $(MACHINES)
	packaging/build.sh $(MACHINES)
	packaging/check.sh $(MACHINES)
	packaging/documents.sh
	packaging/package.sh $(MACHINES)

# The same programs once more in packages of another version, to try an upgrade: make repackage VERSION=0.2.0
repackage:
	@test -n "$(VERSION)" || { echo "say which: make repackage VERSION=0.2.0" >&2; exit 64; }
	VERSION=$(VERSION) packaging/package.sh $(MACHINES)

# The packages once more from a clone of the commit in another directory: the same bytes, or it fails.
reproduce:
	packaging/reproduce.sh $(MACHINES)

# What is in them, and their life on a booted machine, after `make packages`. Needs root.
test-packages:
	packaging/install-tools.sh $(MACHINES)
	tests/e2e/install.sh
	$(MAKE) repackage VERSION=99.0.0 MACHINES=$(shell uname -m)
	$(CARGO) test --all-features --test packages --test e2e -- packages:: --test-threads 1
