//! End-to-end runs of the built binary; the tests are in `tests/it`.
