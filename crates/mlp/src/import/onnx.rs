//! ONNX: a graph of `Gemm` or `MatMul` and `Add`, with activations between.
//!
//! Weights in files beside the model are refused. Before anything is decoded, the places of nodes and tensors are
//! looked up and their number and size compared with limits: a message of two bytes may stand for a hundred in memory.
//!
//! # Source
//! `onnx/onnx.proto` of ONNX 1.23 and `docs/Operators.md` for the operators.

use super::contents::Contents;
use super::format::Format;
use super::naming::shown;
use super::options::ReadOptions;

mod graph;
mod message;
mod outline;

use message::{DataType, TensorProto};

/// Most bytes of all nodes.
const MAX_NODE_BYTES: usize = 1 << 20;

pub(super) const FORMAT: Format = Format { name: ".onnx", recognise, read: contents };

/// ONNX has no magic number: a message whose first field is the version, `ir_version`, and that holds a graph.
fn recognise(bytes: &[u8]) -> bool {
    bytes.first() == Some(&0x08) && bytes.get(1).is_some_and(|version| (1..64).contains(version))
}

fn contents<'a>(bytes: &'a [u8], _: &ReadOptions) -> Result<Contents<'a>, String> {
    let outline = outline::of(bytes)?;
    if outline.nodes.iter().map(|node| node.len()).sum::<usize>() > MAX_NODE_BYTES {
        return Err(format!("its nodes have more than {MAX_NODE_BYTES} bytes"));
    }
    let nodes = outline.nodes.iter().map(|node| message::decode(node)).collect::<Result<Vec<_>, _>>()?;
    let tensors = outline.tensors.iter().map(|tensor| message::decode(tensor));
    let tensors = tensors.collect::<Result<Vec<TensorProto>, _>>()?;
    for tensor in &tensors {
        if tensor.data_location == DataType::EXTERNAL {
            return Err(format!(
                "the numbers of `{}` are in another file; save it whole: \
                 onnx.save(onnx.load(path), new_path, save_as_external_data=False)",
                shown(&tensor.name)
            ));
        }
    }
    let inputs =
        outline.inputs.iter().map(|input| message::name_of_value(input)).collect::<Result<Vec<_>, _>>()?;
    graph::chain(nodes, tensors, &inputs)
}
