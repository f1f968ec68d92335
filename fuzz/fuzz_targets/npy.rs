//! NumPy arrays of a data set.
#![no_main]

use libfuzzer_sys::fuzz_target;
use palimpsest_datasets::npy;

/// One label, 0, as `numpy.save` writes it.
const LABEL: &[u8] = include_bytes!("../seeds/npy/label.npy");

fuzz_target!(|bytes: &[u8]| {
    let _ = npy::parse(bytes, LABEL, "fuzz");
    let (inputs, labels) = palimpsest_fuzz::halves(bytes);
    let _ = npy::parse(inputs, labels, "fuzz");
});
