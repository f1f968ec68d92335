//! Whole-workspace tests, one module a question, in one binary.

mod golden;
