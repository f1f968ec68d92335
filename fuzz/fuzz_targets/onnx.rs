//! `.onnx`: the model itself, and a graph in a good model.
#![no_main]

use libfuzzer_sys::fuzz_target;
use palimpsest_mlp::import::read_network;

fuzz_target!(|bytes: &[u8]| {
    let _ = read_network(bytes);
    let mut length = Vec::new();
    let mut rest = bytes.len();
    while rest >= 0x80 {
        length.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    length.push(rest as u8);
    let _ = read_network(&[b"\x08\x09\x3a", &length[..], bytes, b"\x42\x02\x10\x12"].concat());
});
