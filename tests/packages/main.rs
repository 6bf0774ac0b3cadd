//! Tests of the packages that `make packages` has made: run by `make test-packages`, which names the module, and left out
//! by `make test`, which does the same.

mod packages;
