//! The tests are in `main.rs`; here is the code of the documents, compiled and run as documentation tests.

#[cfg(doctest)]
#[doc = include_str!("../docs/reuse.md")]
mod reuse {}
