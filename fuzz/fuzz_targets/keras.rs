//! Keras: HDF5 itself, and description and weights in a good archive.
#![no_main]

use libfuzzer_sys::fuzz_target;
use palimpsest_fuzz::{halves, zip_of};
use palimpsest_mlp::import::read_network;

fuzz_target!(|bytes: &[u8]| {
    let _ = read_network(bytes);
    let _ = read_network(&[b"\x89HDF\r\n\x1a\n", bytes].concat());
    let (config, weights) = halves(bytes);
    let _ = read_network(&zip_of(&[("config.json", config), ("model.weights.h5", weights)]));
});
