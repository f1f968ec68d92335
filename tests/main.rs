//! Whole-workspace tests, one module a question, in one binary.
//!
//! `#[cfg(test)]` says nothing new to the compiler; it tells clippy that helpers, too, are test code.

#[cfg(test)]
mod golden;
