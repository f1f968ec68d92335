//! The names a pickle may speak of, and how everything else is refused.

use crate::import::shown;
use crate::import::tensor::Dtype;

/// What to do with a file that holds more than weights.
pub(super) const ADVICE: &str = "save the weights alone, torch.save(model.state_dict(), path)";

/// The names a pickle may speak of.
#[derive(Clone, Copy)]
pub(in crate::import) enum Global {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    /// A storage class, by precision or by its name if it holds no floats of ours.
    StorageOf(Result<Dtype, &'static str>),
}

/// The thing a pickle names, if it is on the list.
pub(super) fn global(module: &str, name: &str) -> Result<Global, String> {
    Ok(match (module, name) {
        ("collections", "OrderedDict") => Global::OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2") => Global::RebuildTensor,
        ("torch._utils", "_rebuild_parameter") => Global::RebuildParameter,
        ("torch", "DoubleStorage") => Global::StorageOf(Ok(Dtype::Float64)),
        ("torch", "FloatStorage") => Global::StorageOf(Ok(Dtype::Float32)),
        ("torch", "HalfStorage") => Global::StorageOf(Ok(Dtype::Float16)),
        ("torch", "BFloat16Storage") => Global::StorageOf(Ok(Dtype::Bfloat16)),
        // Counters of normalisation layers and optimizers: named, never decoded.
        ("torch", "LongStorage") => Global::StorageOf(Err("torch.LongStorage")),
        ("torch", "IntStorage") => Global::StorageOf(Err("torch.IntStorage")),
        ("torch", "ShortStorage") => Global::StorageOf(Err("torch.ShortStorage")),
        ("torch", "CharStorage") => Global::StorageOf(Err("torch.CharStorage")),
        ("torch", "ByteStorage") => Global::StorageOf(Err("torch.ByteStorage")),
        ("torch", "BoolStorage") => Global::StorageOf(Err("torch.BoolStorage")),
        _ => {
            let asked = shown(&format!("{module}.{name}"));
            return Err(format!("the file asks to call {asked}: refused, nothing was run; {ADVICE}"));
        }
    })
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
        b'B' | b'C' | 0x8e => "BINBYTES",
        0x96 => "BYTEARRAY8",
        b'S' | b'T' | b'U' => "STRING",
        b'V' => "UNICODE",
        0x8d => "BINUNICODE8",
        b'I' => "INT",
        b'L' => "LONG",
        0x8b => "LONG4",
        b'F' => "FLOAT",
        b'd' => "DICT",
        b'l' => "LIST",
        0x8f..=0x91 => "SET",
        b'0' | b'1' => "POP",
        b'2' => "DUP",
        b'p' => "PUT",
        b'g' => "GET",
        _ => return None,
    })
}
