#![doc = include_str!("../README.md")]

pub mod bias_share;
pub mod certificate;
pub mod equation_weights;
pub mod stationarity;

pub use certificate::{StationarityCertificate, certify};
