//! Whole-workspace tests, one module a question, in one binary.
//!
//! `#[cfg(test)]` says nothing new to the compiler; it tells clippy that functions which only serve tests are test code, too.

#[cfg(test)]
mod book;
#[cfg(test)]
mod default_attack;
#[cfg(test)]
mod determinism;
#[cfg(test)]
mod firewall;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod golden_training;
mod import_graph;
#[cfg(test)]
mod pipeline;
