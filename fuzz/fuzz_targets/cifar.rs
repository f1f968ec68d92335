//! CIFAR-10 records, plain or gzip.
#![no_main]

use libfuzzer_sys::fuzz_target;
use palimpsest_datasets::cifar;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(set) = cifar::parse(bytes, "fuzz") {
        assert!(set.inputs().iter().all(|pixel| (0.0..=1.0).contains(pixel)));
    }
    // A whole record, which the fuzzer seldom completes.
    let mut record = vec![0; cifar::RECORD_BYTES];
    let length = bytes.len().min(record.len());
    record[..length].copy_from_slice(&bytes[..length]);
    let _ = cifar::parse(&record, "fuzz");
});
