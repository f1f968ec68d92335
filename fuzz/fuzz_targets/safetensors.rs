//! `.safetensors`: the file itself, and a header in front of numbers.
#![no_main]

use libfuzzer_sys::fuzz_target;
use palimpsest_mlp::import::{from_safetensors, read_network, to_safetensors};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(imported) = read_network(bytes) {
        let single = imported.network.cast::<f32>();
        let finite = single.layers().iter().all(|l| l.weight.iter().chain(l.bias.iter().flatten()).all(|v| v.is_finite()));
        assert!(!finite || from_safetensors(&to_safetensors(&single)).expect("its own encoding").cast::<f32>() == single);
    }
    let (header, numbers) = palimpsest_fuzz::halves(bytes);
    let _ = from_safetensors(&[&(header.len() as u64).to_le_bytes(), header, numbers].concat());
});
