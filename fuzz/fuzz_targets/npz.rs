//! NumPy archives of a data set: the archive itself, and arrays in a good one.
#![no_main]

use libfuzzer_sys::fuzz_target;
use palimpsest_datasets::npy;
use palimpsest_fuzz::{halves, zip_of};

fuzz_target!(|bytes: &[u8]| {
    let _ = npy::parse_npz(bytes, "fuzz");
    let (inputs, labels) = halves(bytes);
    let _ = npy::parse_npz(&zip_of(&[("inputs.npy", inputs), ("labels.npy", labels)]), "fuzz");
});
