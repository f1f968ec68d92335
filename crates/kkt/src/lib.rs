#![doc = include_str!("../README.md")]

pub mod bias_share;
pub mod certificate;
pub mod generalised_weights;
pub mod outputs;
pub mod remaining;
pub mod stationarity;

pub use certificate::{StationarityCertificate, certify, certify_pulls};
pub use outputs::{Label, OutputPull};
pub use remaining::RemainingEquation;
