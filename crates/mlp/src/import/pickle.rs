//! A pickle machine that knows what `torch.load(weights_only=True)` would build, and plain records; it executes nothing.
//!
//! Values live in one flat list and refer to each other by index, so neither deep nor circular structures recurse, and
//! memory stays proportional to the bytes read. Whatever could call code is refused by name.
//!
//! # Source
//! Python's `Lib/pickletools.py` for the opcodes; PyTorch's `torch/_weights_only_unpickler.py` for the idea of an
//! allow-list, of which this is a small part.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::tensor::{Dtype, Whole};

mod allowed;
mod calls;
mod opcodes;
#[cfg(test)]
mod tests;

use allowed::Global;

/// Longest pickle; the tensors' numbers are not in it, only their names and shapes.
pub(super) const MAX_BYTES: usize = 4 << 20;

/// Most axes of a tensor; a longer tuple, used again and again, would be copied each time.
const MAX_AXES: usize = 8;

/// Index of a value.
pub(super) type Id = usize;

/// A value as far as weights need it.
pub(super) enum Value<'a> {
    /// None, a whole number beyond 64 bits, a set, a date: known, and of no use here.
    Plain,
    Int(i64),
    Float(f64),
    Flag(bool),
    Text(&'a str),
    /// Bytes; protocol 2 writes them as text of Latin-1.
    Bytes(&'a [u8]),
    Latin1(&'a str),
    List(Vec<Id>),
    Tuple(Vec<Id>),
    /// Keys and values in the order they were set, repeated keys included.
    Dict(Vec<(Id, Id)>),
    /// An object that is its attributes, which are the dictionary of that index.
    Record(Id),
    Global(Global),
    Storage(Storage<'a>),
    Tensor(Box<View<'a>>),
    /// A tensor of a kind that is not read.
    UnreadTensor(&'static str),
    /// NumPy's name of a kind of number, such as `f8`.
    NumpyKind(&'a str),
}

/// A record of numbers outside the pickle.
#[derive(Clone, Copy)]
pub(super) struct Storage<'a> {
    pub(super) dtype: Result<Dtype, &'static str>,
    /// How whole numbers are stored, where they are no floats.
    pub(super) whole: Option<Whole>,
    /// Name of the record.
    pub(super) key: &'a str,
    /// How many numbers it holds.
    pub(super) numbers: i64,
}

/// A tensor: a strided view of a storage. Signs are checked by whoever uses it.
pub(super) struct View<'a> {
    pub(super) storage: Storage<'a>,
    pub(super) offset: i64,
    pub(super) shape: Vec<i64>,
    pub(super) strides: Vec<i64>,
}

/// All values of a pickle and which of them it stands for.
pub(super) struct Pickle<'a> {
    values: Vec<Value<'a>>,
    root: Id,
}

impl<'a> Pickle<'a> {
    pub(super) fn root(&self) -> Id {
        self.root
    }

    pub(super) fn value(&self, id: Id) -> &Value<'a> {
        &self.values[id]
    }

    /// Keys and values of a dictionary or record.
    pub(super) fn entries(&self, id: Id) -> Option<&[(Id, Id)]> {
        match &self.values[id] {
            Value::Dict(entries) => Some(entries),
            Value::Record(attributes) => match &self.values[*attributes] {
                Value::Dict(entries) => Some(entries),
                _ => None,
            },
            _ => None,
        }
    }

    /// A key as text.
    pub(super) fn key(&self, id: Id) -> Cow<'a, str> {
        match self.value(id) {
            Value::Text(text) => (*text).into(),
            Value::Int(int) => int.to_string().into(),
            _ => "(no text)".into(),
        }
    }
}

/// Runs the machine over a whole pickle.
pub(super) fn parse(bytes: &[u8]) -> Result<Pickle<'_>, String> {
    if bytes.len() > MAX_BYTES {
        return Err(format!("its pickle has {} bytes, above the limit of {MAX_BYTES}", bytes.len()));
    }
    let mut machine = Machine { bytes, ..Machine::default() };
    loop {
        let at = machine.at;
        let [opcode] = machine.take()?;
        if opcode == b'.' {
            let root = machine.pop()?;
            if machine.at != bytes.len() || !machine.stack.is_empty() || !machine.marks.is_empty() {
                return Err("its pickle goes on after its end".into());
            }
            return Ok(Pickle { values: machine.values, root });
        }
        machine.step(opcode, at)?;
    }
}

#[derive(Default)]
struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    values: Vec<Value<'a>>,
    stack: Vec<Id>,
    /// Heights of the stack at the open marks.
    marks: Vec<usize>,
    memo: BTreeMap<u32, Id>,
}

impl<'a> Machine<'a> {
    /// `("storage", class, key, device, numbers)`.
    fn storage(&self, id: Id) -> Option<Storage<'a>> {
        let Value::Tuple(items) = &self.values[id] else { return None };
        let &[kind, class, key, _, numbers] = items.as_slice() else { return None };
        match (&self.values[kind], &self.values[class], &self.values[key], &self.values[numbers]) {
            (
                Value::Text("storage"),
                &Value::Global(Global::StorageOf(dtype, whole)),
                &Value::Text(key),
                &Value::Int(numbers),
            ) => Some(Storage { dtype, whole, key, numbers }),
            _ => None,
        }
    }

    fn ints(&self, id: Id) -> Option<Vec<i64>> {
        let Value::Tuple(items) = &self.values[id] else { return None };
        if items.len() > MAX_AXES {
            return None;
        }
        items
            .iter()
            .map(|&item| match self.values[item] {
                Value::Int(int) => Some(int),
                _ => None,
            })
            .collect()
    }

    fn set_items(&mut self, items: &[Id]) -> Result<(), String> {
        let top = self.top()?;
        match &mut self.values[top] {
            Value::Dict(entries) if items.len().is_multiple_of(2) => {
                entries.extend(items.chunks_exact(2).map(|pair| (pair[0], pair[1])));
                Ok(())
            }
            _ => Err("it sets items of something that is no dictionary".into()),
        }
    }

    fn append(&mut self, items: &[Id]) -> Result<(), String> {
        let top = self.top()?;
        match &mut self.values[top] {
            Value::List(list) => {
                list.extend(items);
                Ok(())
            }
            _ => Err("it appends to something that is no list".into()),
        }
    }

    fn push(&mut self, value: Value<'a>) {
        self.stack.push(self.values.len());
        self.values.push(value);
    }

    fn text(&mut self, length: usize) -> Result<&'a str, String> {
        str::from_utf8(self.slice(length)?).map_err(|_| "its pickle holds text that is not UTF-8".into())
    }

    fn recall(&mut self, slot: u32) -> Result<(), String> {
        let id = self.memo.get(&slot).ok_or_else(|| format!("its pickle recalls {slot}, never memorised"))?;
        self.stack.push(*id);
        Ok(())
    }

    /// The value on top, above the last mark.
    fn top(&self) -> Result<Id, String> {
        let bottom = self.marks.last().copied().unwrap_or(0);
        self.stack
            .get(bottom..)
            .and_then(<[Id]>::last)
            .copied()
            .ok_or_else(|| "its pickle lacks a value".into())
    }

    fn pop(&mut self) -> Result<Id, String> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Id>, String> {
        let mark = self.marks.pop().ok_or("its pickle lacks a mark")?;
        Ok(self.stack.drain(mark..).collect())
    }

    fn slice(&mut self, length: usize) -> Result<&'a [u8], String> {
        let (head, _) = self.bytes[self.at..].split_at_checked(length).ok_or("its pickle ends too early")?;
        self.at += length;
        Ok(head)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], String> {
        Ok(self.slice(N)?.try_into().expect("as many bytes as asked for"))
    }

    fn line(&mut self) -> Result<&'a str, String> {
        let length =
            self.bytes[self.at..].iter().position(|&c| c == b'\n').ok_or("its pickle ends too early")?;
        let line =
            str::from_utf8(self.slice(length)?).map_err(|_| "its pickle names a global that is not UTF-8")?;
        self.at += 1;
        Ok(line)
    }
}
