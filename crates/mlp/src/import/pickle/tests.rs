//! Programs by hand: what is refused, by what name, and what must not grow.

use proptest::prelude::*;

use super::*;

fn refusal(bytes: &[u8]) -> String {
    parse(bytes).err().unwrap_or_else(|| panic!("{bytes:?} was read"))
}

#[test]
fn calls_and_unknown_opcodes_are_refused_by_name() {
    for (pickle, words) in [
        (&b"\x80\x02cos\nsystem\nX\x02\x00\x00\x00ls\x85R."[..], "asks to call os.system: refused"),
        (b"\x80\x04\x8c\x05posix\x8c\x06system\x93.", "asks to call posix.system: refused"),
        (b"cbuiltins\neval\n.", "builtins.eval"),
        (b"ctorch\nload\n.", "torch.load"),
        (b"ctorch._utils\n_rebuild_tensor_v2\n)R.", "not read"),
        (b"ctorch\nFloatStorage\n)R.", "not read"),
        (b"}(K\x01tR.", "no function"),
        (b"(S'ls'\nios\nsystem\n.", "0x53 (STRING) at byte 1"),
        (b"}}\x81.", "NEWOBJ"),
        (b"}\xff.", "0xff at byte 1"),
        (b"\x80\x01.", "protocol 1"),
    ] {
        let error = refusal(pickle);
        assert!(error.contains(words), "{error}");
    }
    let shouting = refusal(b"c\x1b[31m\nx\n.");
    assert!(!shouting.contains('\x1b'), "escapes do not reach a terminal: {shouting}");
}

#[test]
fn broken_programs_are_refused() {
    for pickle in [
        &b""[..],
        b".",
        b"}",
        b"}}.",
        b"(}.",
        b"}..",
        b"t.",
        b"(\x85.",
        b"K\x01(\x85.",
        b"}K\x01s.",
        b"]K\x01K\x02s.",
        b"}(K\x01u.",
        b"}K\x01a.",
        b"K\x01}b.",
        b"h\x00.",
        b"q\x00.",
        b"X\xff\xff\xff\xff.",
        b"X\x01\x00\x00\x00\xff.",
        b"\x8a\xff\x00.",
        b"c\xff\n\xff\n.",
        b"ccollections",
        b"K\x01K\x02\x93.",
        b"K\x01Q.",
        b")Q.",
    ] {
        refusal(pickle);
    }
    assert!(refusal(&vec![b'N'; MAX_BYTES + 1]).contains("limit"));
}

#[test]
fn tensors_have_few_axes_and_plain_numbers() {
    let with_shape = |shape: &[u8], rest: &[u8]| {
        let storage = b"((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000NK\x01tQK\x00";
        [&b"ctorch._utils\n_rebuild_tensor_v2\n"[..], storage, shape, shape, b"\x89}", rest, b"tR."].concat()
    };
    let one = b"K\x01\x85";
    let plain = with_shape(one, b"");
    let pickle = parse(&plain).unwrap_or_else(|e| panic!("{e}"));
    let Value::Tensor(view) = pickle.value(pickle.root()) else { panic!("no tensor") };
    assert_eq!((view.storage.key, view.storage.numbers, view.offset), ("0", 1, 0));
    assert_eq!((&view.shape[..], &view.strides[..]), (&[1][..], &[1][..]));
    assert!(parse(&with_shape(one, b"}")).is_ok());
    let many = [&b"("[..], &b"K\x01".repeat(MAX_AXES + 1), b"t"].concat();
    let negated = b"}X\x03\x00\x00\x00neg\x88s";
    for pickle in [
        with_shape(&many, b""),
        with_shape(b"K\x01", b""),
        with_shape(b"N\x85", b""),
        with_shape(one, negated),
    ] {
        assert!(refusal(&pickle).contains("in a way that is not read"));
    }
}

#[test]
fn whole_numbers_are_as_in_python() {
    for (bytes, value) in [
        (&b"K\xff."[..], 255),
        (b"M\xff\xff.", 65_535),
        (b"J\xff\xff\xff\xff.", -1),
        (b"\x8a\x00.", 0),
        (b"\x8a\x01\xff.", -1),
        (b"\x8a\x02\xff\x00.", 255),
        (b"\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x80.", i64::MIN),
    ] {
        let pickle = parse(bytes).unwrap();
        assert!(matches!(pickle.value(pickle.root()), &Value::Int(v) if v == value), "{value}");
    }
    assert!(matches!(parse(b"\x8a\x09123456789.").unwrap().values[0], Value::Plain));
}

#[test]
fn deep_and_circular_structures_neither_recurse_nor_grow() {
    let deep = [&b")"[..], &b"\x85".repeat(1_000_000), b"."].concat();
    assert_eq!(parse(&deep).unwrap().values.len(), 1_000_001);
    // A dictionary that holds itself.
    assert!(parse(b"}q\x00K\x01h\x00s.").is_ok());
}

proptest! {
    #[test]
    fn any_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&bytes);
    }

    #[test]
    fn any_program_never_panics(
        program in prop::collection::vec(prop::sample::select(&b"}]()NK\x01\x85\x86\x87tqhsuaebQR\x88\x94X\x00"[..]), 0..80)
    ) {
        let _ = parse(&program);
        let _ = parse(&[&program[..], b"."].concat());
    }
}
