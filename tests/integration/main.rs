//! One test binary for all integration tests.
