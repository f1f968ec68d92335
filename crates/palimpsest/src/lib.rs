#![doc = include_str!("../README.md")]

pub mod attacking;
pub mod cli;
pub mod judging;
pub mod terminal;
