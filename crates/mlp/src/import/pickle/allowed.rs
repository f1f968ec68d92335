//! The names a pickle may speak of, and how everything else is refused.

use crate::import::naming::shown;
use crate::import::tensor::{Dtype, Sign, Whole};

/// What to do with a file that holds more than weights.
pub(super) const ADVICE: &str = "save the weights alone, torch.save(model.state_dict(), path)";

/// The names a pickle may speak of. None is ever called: each stands for what this machine does by hand.
#[derive(Clone, Copy)]
pub(crate) enum Global {
    OrderedDict,
    /// A class whose objects are attributes and nothing else.
    Record,
    /// What is a list or tuple by another name.
    Sequence,
    /// Known, and of no use here: dates, paths, devices, sets.
    Plain,
    /// Bytes as protocol 2 writes them.
    Encode,
    NumpyKind,
    NumpyScalar,
    RebuildTensor,
    RebuildParameter,
    RebuildFromType,
    /// What rebuilds a tensor of a kind that is not read.
    UnreadTensor(&'static str),
    /// A storage class, by precision or by its name if it holds no floats of ours.
    StorageOf(Result<Dtype, &'static str>, Option<Whole>),
}

/// The thing a pickle names, if it is on the list.
pub(super) fn global(module: &str, name: &str) -> Result<Global, String> {
    let of = |dtype| Global::StorageOf(dtype, None);
    let whole = |name, width, sign| Global::StorageOf(Err(name), Some(Whole { width, sign }));
    Ok(match (module, name) {
        ("collections", "OrderedDict") => Global::OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2" | "_rebuild_tensor") => Global::RebuildTensor,
        ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => Global::RebuildParameter,
        ("torch._tensor", "_rebuild_from_type_v2") => Global::RebuildFromType,
        ("torch._utils", "_rebuild_qtensor") => Global::UnreadTensor("a quantised tensor"),
        ("torch._utils", "_rebuild_sparse_tensor") => Global::UnreadTensor("a sparse tensor"),
        ("torch._utils", "_rebuild_nested_tensor") => Global::UnreadTensor("a nested tensor"),
        ("torch._utils", "_rebuild_meta_tensor_no_storage") => {
            Global::UnreadTensor("a tensor without numbers")
        }
        ("torch._utils", "_rebuild_tensor_v3") => Global::UnreadTensor("a tensor of a rare precision"),
        ("torch._utils", name) if name.starts_with("_rebuild_device_tensor_from_") => {
            Global::UnreadTensor("a tensor of a rare device")
        }
        ("torch._utils", "_rebuild_wrapper_subclass") => Global::UnreadTensor("a tensor inside another"),
        ("torch" | "torch.cuda", "DoubleStorage") => of(Ok(Dtype::Float64)),
        ("torch" | "torch.cuda", "FloatStorage") => of(Ok(Dtype::Float32)),
        ("torch" | "torch.cuda", "HalfStorage") => of(Ok(Dtype::Float16)),
        ("torch" | "torch.cuda", "BFloat16Storage") => of(Ok(Dtype::Bfloat16)),
        // Counters of normalisation layers and optimizers.
        ("torch" | "torch.cuda", "LongStorage") => whole("torch.LongStorage", 8, Sign::Signed),
        ("torch" | "torch.cuda", "IntStorage") => whole("torch.IntStorage", 4, Sign::Signed),
        ("torch" | "torch.cuda", "ShortStorage") => whole("torch.ShortStorage", 2, Sign::Signed),
        ("torch" | "torch.cuda", "CharStorage") => whole("torch.CharStorage", 1, Sign::Signed),
        ("torch" | "torch.cuda", "ByteStorage") => whole("torch.ByteStorage", 1, Sign::Unsigned),
        ("torch" | "torch.cuda", "BoolStorage") => whole("torch.BoolStorage", 1, Sign::Unsigned),
        ("torch" | "torch.cuda", "ComplexFloatStorage" | "ComplexDoubleStorage") => {
            of(Err("complex numbers"))
        }
        ("torch", "QInt8Storage" | "QInt32Storage") => of(Err("quantised numbers")),
        ("torch", name) if name.starts_with("QUInt") && name.ends_with("Storage") => {
            of(Err("quantised numbers"))
        }
        ("torch.storage", "UntypedStorage") => of(Err("torch.UntypedStorage")),
        ("torch", "Size") | ("builtins" | "__builtin__", "list" | "tuple") | ("collections", "deque") => {
            Global::Sequence
        }
        ("torch", name) if is_torch_word(name) => Global::Plain,
        ("torch.serialization", "_get_layout") => Global::Plain,
        ("torch.nn.parameter", "Parameter") => Global::Plain,
        ("torch" | "torch.cuda" | "torch.sparse" | "torch.cuda.sparse", name) if name.ends_with("Tensor") => {
            Global::Plain
        }
        ("_codecs", "encode") => Global::Encode,
        ("numpy", "dtype") => Global::NumpyKind,
        ("numpy._core.multiarray" | "numpy.core.multiarray", "scalar") => Global::NumpyScalar,
        _ if is_record(module, name) => Global::Record,
        _ if is_plain(module, name) => Global::Plain,
        _ => {
            let asked = shown(&format!("{module}.{name}"));
            return Err(format!("the file asks to call {asked}: refused, nothing was run; {ADVICE}"));
        }
    })
}

/// Devices, precisions and layouts.
fn is_torch_word(name: &str) -> bool {
    let precisions = ["float", "bfloat", "int", "uint", "complex", "bcomplex", "qint", "quint", "bits"];
    let letters = name.trim_end_matches(|c: char| c.is_ascii_digit());
    // `float32`; `float8_e4m3fn`, `quint4x2`, whose stem is followed by a digit.
    let stem = name.trim_start_matches(|c: char| c.is_ascii_lowercase());
    let is_rare = stem.starts_with(|c: char| c.is_ascii_digit())
        && stem.bytes().all(|c| c.is_ascii_digit() || c.is_ascii_lowercase() || c == b'_');
    let is_precision =
        precisions.contains(&letters) || (is_rare && precisions.contains(&&name[..name.len() - stem.len()]));
    let is_scheme = name.starts_with("per_tensor_")
        || name.starts_with("per_channel_")
        || matches!(name, "strided" | "sparse_coo");
    is_precision || is_scheme || matches!(name, "device" | "bool" | "double" | "half" | "long" | "short")
}

/// Classes whose objects are attributes or entries and nothing else.
fn is_record(module: &str, name: &str) -> bool {
    matches!(
        (module, name),
        ("argparse", "Namespace")
            | ("types", "SimpleNamespace")
            | ("collections", "Counter" | "defaultdict")
            | ("builtins" | "__builtin__", "dict")
            | ("easydict", "EasyDict")
            | (
                "pytorch_lightning.utilities.parsing" | "lightning.pytorch.utilities.parsing",
                "AttributeDict"
            )
            | ("lightning_fabric.utilities.data" | "lightning.fabric.utilities.data", "AttributeDict")
    )
}

/// Values of the standard library and of NumPy that say nothing here.
fn is_plain(module: &str, name: &str) -> bool {
    matches!(
        (module, name),
        (
            "builtins" | "__builtin__",
            "set"
                | "frozenset"
                | "bytearray"
                | "complex"
                | "slice"
                | "range"
                | "xrange"
                | "int"
                | "long"
                | "float"
                | "str"
                | "unicode"
                | "bool"
        ) | (
            "pathlib" | "pathlib._local",
            "PosixPath" | "WindowsPath" | "PurePosixPath" | "PureWindowsPath" | "Path"
        ) | ("datetime", "datetime" | "date" | "time" | "timedelta" | "timezone")
            | ("decimal", "Decimal")
            | ("fractions", "Fraction")
            | ("uuid", "UUID")
            | (
                "numpy",
                "ndarray"
                    | "bool"
                    | "bool_"
                    | "float16"
                    | "float32"
                    | "float64"
                    | "int32"
                    | "int64"
                    | "uint8"
            )
            | ("numpy._core.multiarray" | "numpy.core.multiarray", "_reconstruct")
    )
}

/// Names of opcodes that real files hold and this machine refuses.
pub(super) fn opcode_name(opcode: u8) -> Option<&'static str> {
    Some(match opcode {
        b'i' => "INST",
        b'o' => "OBJ",
        0x81 => "NEWOBJ",
        0x92 => "NEWOBJ_EX",
        0x82..=0x84 => "EXT",
        b'P' => "PERSID",
        0x8e => "BINBYTES8",
        0x96 => "BYTEARRAY8",
        b'S' | b'T' => "STRING",
        b'V' => "UNICODE",
        0x8d => "BINUNICODE8",
        b'I' => "INT",
        b'L' => "LONG",
        0x8b => "LONG4",
        b'F' => "FLOAT",
        b'd' => "DICT",
        b'l' => "LIST",
        0x91 => "FROZENSET",
        b'1' => "POP_MARK",
        b'2' => "DUP",
        b'p' => "PUT",
        b'g' => "GET",
        _ => return None,
    })
}
