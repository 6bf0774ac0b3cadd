# Two ways to prove the tree: `make check` as anyone, `make test` (everything) as root. One feature set for all of it,
# so that nothing is built twice.

CARGO ?= cargo
# Every test binary but e2e.
checked := it log outage $(basename $(notdir $(wildcard tests/*.rs)))

.PHONY: test check lint

# Everything, end to end included. Needs root; installs the system packages it needs; fails where it cannot run.
test:
	tests/e2e/install.sh
	$(CARGO) test --all-features --no-fail-fast

# What needs no root: leaves the end-to-end tests and the modules `as_root` out.
check:
	$(CARGO) test --all-features --no-fail-fast --lib --bins $(addprefix --test ,$(checked)) -- --skip as_root::
	$(CARGO) test --all-features --doc

lint:
	$(CARGO) fmt --check
	$(CARGO) clippy --all-features --all-targets -- -D warnings
