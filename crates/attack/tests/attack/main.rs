//! Whole attacks on small networks trained here, one module a question, in one binary.
//!
//! `#[cfg(test)]` says nothing new to the compiler; it tells clippy that functions which only serve tests are test code, too.

#[cfg(test)]
mod classes;
#[cfg(test)]
mod deflation;
#[cfg(test)]
mod membership;
#[cfg(test)]
mod parts;
#[cfg(test)]
mod patterns;
#[cfg(test)]
mod resume;
#[cfg(test)]
mod separation;
#[cfg(test)]
mod toy_stage;
