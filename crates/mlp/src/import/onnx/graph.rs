//! The chain in a graph: from dense layer to dense layer through operators that act on each number.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crate::import::chain::Layout;
use crate::import::contents::Contents;
use crate::import::finding::Fact;
use crate::import::naming::shown;
use crate::import::sequence::Step;
use crate::import::stored_activation::StoredActivation;
use crate::import::tensor::{Dtype, Tensor, row_major};

use super::message::{DataType, NodeProto, TensorProto};

/// Most axes of a tensor.
const MAX_AXES: usize = 8;

/// What is known of a graph while it is walked.
struct Graph<'g> {
    nodes: &'g [NodeProto],
    constants: BTreeMap<&'g str, &'g TensorProto>,
    /// Which nodes take a value.
    takers: BTreeMap<&'g str, Vec<usize>>,
}

/// Follows the graph from its input and hands over what it meets.
pub(super) fn chain(
    mut nodes: Vec<NodeProto>,
    mut tensors: Vec<TensorProto>,
    inputs: &[String],
) -> Result<Contents<'static>, String> {
    // Numbers may also stand in nodes of their own.
    for node in nodes.iter_mut().filter(|node| node.op_type == "Constant") {
        let value = node.attribute.iter_mut().find_map(|attribute| attribute.t.take());
        if let (Some(mut tensor), Some(name)) = (value, node.output.first()) {
            tensor.name = name.clone();
            tensors.push(tensor);
        }
    }
    let constants: BTreeMap<&str, &TensorProto> = tensors.iter().map(|t| (t.name.as_str(), t)).collect();
    let mut takers: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, node) in nodes.iter().enumerate() {
        let taken: BTreeSet<&str> = node.input.iter().map(String::as_str).collect();
        taken.into_iter().for_each(|name| takers.entry(name).or_default().push(index));
    }
    // Old models list their weights among the inputs.
    let mut inputs = inputs.iter().filter(|name| !constants.contains_key(name.as_str()));
    let (Some(input), None) = (inputs.next(), inputs.next()) else {
        return Err("it has no input, or several; export a network with one".into());
    };
    let graph = Graph { nodes: &nodes, constants, takers };
    let mut contents = Contents::default();
    let steps = graph.walk(input, &mut contents)?;
    contents.steps = Some(steps);
    let read: BTreeSet<&str> = contents.tensors.iter().map(|tensor| &*tensor.name).collect();
    let others = graph.constants.keys().filter(|name| !read.contains(**name));
    contents.ignored = others.map(|name| shown(name)).collect();
    if contents.tensors.is_empty() {
        return Err("its graph has no dense layer (Gemm or MatMul with weights of its own)".into());
    }
    Ok(contents)
}

impl<'g> Graph<'g> {
    /// From the input on as long as one operator takes the value; behind dense layers several may.
    fn walk(&self, input: &'g str, contents: &mut Contents<'static>) -> Result<Vec<Step>, String> {
        let (mut steps, mut value) = (Vec::new(), input);
        let mut seen = BTreeSet::new();
        for _ in 0..=self.nodes.len() {
            let Some(node) = self.next(value, &steps)? else { return Ok(steps) };
            if !seen.insert(std::ptr::from_ref(node)) {
                return Err("its graph is a circle; it is damaged".into());
            }
            value = self.apply(node, value, &mut steps, contents)?;
        }
        Err("its graph is a circle; it is damaged".into())
    }

    /// The operator that takes a value. Where several do, what follows the last layer is left: probabilities and labels.
    fn next(&self, value: &str, steps: &[Step]) -> Result<Option<&'g NodeProto>, String> {
        let takers = self.takers.get(value).map_or(&[][..], Vec::as_slice);
        match takers {
            [] => Ok(None),
            &[one] => Ok(Some(&self.nodes[one])),
            several => {
                let dense: Vec<usize> = several.iter().copied().filter(|&at| self.leads_on(at)).collect();
                match dense.as_slice() {
                    [] if steps.iter().any(|step| matches!(step, Step::Dense { .. })) => Ok(None),
                    &[one] => Ok(Some(&self.nodes[one])),
                    _ => Err(format!(
                        "`{}` goes to several operators: networks with branches are not read",
                        shown(value)
                    )),
                }
            }
        }
    }

    /// Whether there is a dense layer somewhere behind a node.
    fn leads_on(&self, node: usize) -> bool {
        let (mut waiting, mut seen) = (vec![node], BTreeSet::from([node]));
        while let Some(at) = waiting.pop() {
            let node = &self.nodes[at];
            if self.weight(node).is_some() || node.op_type == "Conv" {
                return true;
            }
            let behind = node.output.iter().filter_map(|name| self.takers.get(name.as_str())).flatten();
            waiting.extend(behind.copied().filter(|&at| seen.insert(at)));
        }
        false
    }

    /// The weight of a dense layer, and the value that is multiplied with it.
    fn weight(&self, node: &'g NodeProto) -> Option<(&'g TensorProto, &'g str)> {
        if !matches!(node.op_type.as_str(), "Gemm" | "MatMul") {
            return None;
        }
        let [value, weight, ..] = node.input.as_slice() else { return None };
        Some((*self.constants.get(weight.as_str())?, value))
    }

    /// One operator: what it adds to the chain, and the value it gives.
    fn apply(
        &self,
        node: &'g NodeProto,
        value: &str,
        steps: &mut Vec<Step>,
        contents: &mut Contents<'static>,
    ) -> Result<&'g str, String> {
        let output =
            node.output.first().ok_or_else(|| format!("operator `{}` gives nothing", shown(&node.name)))?;
        if let Some((weight, taken)) = self.weight(node) {
            if taken != value {
                return Err(format!(
                    "the weight of `{}` is computed; networks that do so are not read",
                    shown(&node.name)
                ));
            }
            steps.push(self.dense(node, weight, contents)?);
            return Ok(output);
        }
        if node.op_type == "Add"
            && let Some(bias) = self.other_constant(node, value)
            && self.is_row(bias)
            && let Some(Step::Dense { bias: place @ None, .. }) = steps.last_mut()
        {
            *place = Some(contents.tensors.len());
            contents.tensors.push(tensor(bias)?);
            return Ok(output);
        }
        let settings = |name: &str| node.attribute.iter().find(|attribute| attribute.name == name);
        let named = |name: &str| Step::Activation(StoredActivation::Named(name.to_owned()));
        let has_layer = steps.iter().any(|step| matches!(step, Step::Dense { .. }));
        steps.push(match node.op_type.as_str() {
            "Relu" => Step::Activation(StoredActivation::Relu),
            "LeakyRelu" => {
                let slope = settings("alpha").map_or(0.01, |setting| rounded(setting.f));
                Step::Activation(StoredActivation::LeakyRelu { slope })
            }
            "Sigmoid" => named("sigmoid"),
            "Softmax" => named("softmax"),
            "LogSoftmax" => named("log softmax"),
            "Tanh" => named("tanh"),
            "Elu" => named("elu"),
            "Gelu" => named("gelu"),
            "Softplus" => named("softplus"),
            "Identity" | "Dropout" | "Cast" | "Flatten" | "Squeeze" | "Unsqueeze" => Step::Passed(None),
            "Reshape" => Step::Passed((!has_layer).then(|| "inputs are reshaped, in their order".into())),
            "Sub" | "Div" | "Mul" | "Add" | "Scaler" if !has_layer => {
                self.normalisation(node, value, contents)
            }
            // Behind the last layer: from logits to labels.
            _ if has_layer && !self.takers.contains_key(output.as_str()) => Step::Passed(None),
            other if has_layer && !self.leads_on_from(output) => {
                Step::Passed(Some(format!("behind the last layer stands {}", shown(other))))
            }
            other => Step::Other(format!("an operator {}", shown(other))),
        });
        Ok(output)
    }

    fn leads_on_from(&self, value: &str) -> bool {
        self.takers.get(value).into_iter().flatten().any(|&at| self.leads_on(at))
    }

    fn dense(
        &self,
        node: &'g NodeProto,
        weight: &TensorProto,
        contents: &mut Contents<'static>,
    ) -> Result<Step, String> {
        let setting = |name: &str| node.attribute.iter().find(|attribute| attribute.name == name);
        let flag = |name: &str| setting(name).is_some_and(|setting| setting.i != 0);
        let factor = |name: &str| setting(name).map_or(1.0, |setting| setting.f);
        if flag("transA") {
            return Err(format!(
                "operator `{}` transposes its input; export it as a plain layer",
                shown(&node.name)
            ));
        }
        if weight.dims.len() != 2 {
            return Err(format!("the weight `{}` is no matrix", shown(&weight.name)));
        }
        let place = contents.tensors.len();
        contents.tensors.push(scaled(tensor(weight)?, factor("alpha"))?);
        let bias = match node.input.get(2).filter(|name| !name.is_empty()) {
            Some(name) => {
                let bias = self
                    .constants
                    .get(name.as_str())
                    .filter(|bias| self.is_row(bias))
                    .ok_or_else(|| format!("the bias `{}` is no row of numbers", shown(name)))?;
                contents.tensors.push(scaled(tensor(bias)?, factor("beta"))?);
                Some(place + 1)
            }
            None => None,
        };
        let layout = if flag("transB") { Layout::OutIn } else { Layout::InOut };
        Ok(Step::Dense { name: weight.name.clone(), weight: place, bias, layout })
    }

    /// The constant that is combined with a value.
    fn other_constant(&self, node: &NodeProto, value: &str) -> Option<&'g TensorProto> {
        let other = node.input.iter().find(|name| *name != value)?;
        self.constants.get(other.as_str()).copied()
    }

    fn is_row(&self, tensor: &TensorProto) -> bool {
        tensor.dims.len() <= MAX_AXES && tensor.dims.iter().filter(|&&size| size != 1).count() <= 1
    }

    /// What is taken from the inputs, or what they are divided by.
    fn normalisation(&self, node: &NodeProto, value: &str, contents: &mut Contents<'static>) -> Step {
        const MOST: usize = 1 << 16;
        let numbers = self.other_constant(node, value).and_then(|t| tensor(t).ok()?.numbers(MOST));
        let Some(numbers) = numbers else {
            return Step::Passed(Some(format!(
                "inputs first go through {}: what is recovered is after that",
                shown(&node.op_type)
            )));
        };
        let fact = match node.op_type.as_str() {
            "Sub" => Some(("normalisation.mean", numbers)),
            "Div" => Some(("normalisation.std", numbers)),
            _ => None,
        };
        contents.facts.extend(fact.map(|(name, numbers)| (name.to_owned(), Fact::Numbers(numbers))));
        Step::Passed(Some("inputs are first normalised in the graph: what is recovered is after that".into()))
    }
}

/// A tensor times the factor that an operator has for it, which is 1 as a rule.
fn scaled(tensor: Tensor<'static>, factor: f32) -> Result<Tensor<'static>, String> {
    if factor == 1.0 {
        return Ok(tensor);
    }
    let bytes: Vec<u8> = match tensor.dtype {
        Ok(Dtype::Float32) => {
            let number = |bytes: &[u8; 4]| f32::from_le_bytes(*bytes) * factor;
            tensor.bytes.as_chunks().0.iter().flat_map(|bytes| number(bytes).to_le_bytes()).collect()
        }
        Ok(Dtype::Float64) => {
            let number = |bytes: &[u8; 8]| f64::from_le_bytes(*bytes) * f64::from(factor);
            tensor.bytes.as_chunks().0.iter().flat_map(|bytes| number(bytes).to_le_bytes()).collect()
        }
        _ => {
            return Err(format!(
                "`{}` is scaled by {factor} and stored in less than single precision; export it as a plain layer",
                shown(&tensor.name)
            ));
        }
    };
    Ok(Tensor { bytes: Cow::Owned(bytes), ..tensor })
}

/// A slope as it was written in decimals, which single precision blurs.
fn rounded(single: f32) -> f64 {
    format!("{single}").parse().unwrap_or(f64::from(single))
}

/// A tensor of the file; its size is compared with the numbers there are.
fn tensor(proto: &TensorProto) -> Result<Tensor<'static>, String> {
    let bad = |problem: String| format!("tensor `{}` {problem}", shown(&proto.name));
    let shape = proto.dims.iter().map(|&size| usize::try_from(size)).collect::<Result<Vec<_>, _>>();
    let shape = shape
        .ok()
        .filter(|shape| shape.len() <= MAX_AXES)
        .ok_or_else(|| bad("has an impossible shape".into()))?;
    let dtype = match proto.data_type {
        DataType::FLOAT => Ok(Dtype::Float32),
        DataType::DOUBLE => Ok(Dtype::Float64),
        DataType::FLOAT16 => Ok(Dtype::Float16),
        DataType::BFLOAT16 => Ok(Dtype::Bfloat16),
        other => Err(format!("ONNX's kind {other} of data")),
    };
    let bytes: Vec<u8> = if !proto.raw_data.is_empty() {
        proto.raw_data.clone()
    } else if proto.data_type == DataType::DOUBLE {
        proto.double_data.iter().flat_map(|v| v.to_le_bytes()).collect()
    } else {
        proto.float_data.iter().flat_map(|v| v.to_le_bytes()).collect()
    };
    let numbers = shape.iter().try_fold(1_usize, |n, &size| n.checked_mul(size));
    let strides = row_major(&shape).filter(|_| numbers.is_some());
    let width = dtype.as_ref().ok().map(|dtype: &Dtype| dtype.width());
    let fits = width.is_none_or(|width| numbers.and_then(|n| n.checked_mul(width)) == Some(bytes.len()));
    match strides {
        Some(strides) if fits => Ok(Tensor {
            name: Cow::Owned(proto.name.clone()),
            shape,
            strides,
            offset: 0,
            dtype,
            whole: None,
            bytes: Cow::Owned(bytes),
        }),
        _ => Err(bad(format!(
            "announces the shape {} but {} bytes are there; the file is damaged",
            shown(&format!("{:?}", proto.dims)),
            bytes.len()
        ))),
    }
}
