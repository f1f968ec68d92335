//! A pickle machine that knows the few opcodes and globals of a PyTorch state dictionary, and executes nothing.
//!
//! Values live in one flat list and refer to each other by index, so neither deep nor circular structures recurse, and
//! memory stays proportional to the bytes read. Whatever could call code is refused by name.
//!
//! # Source
//! Python's `Lib/pickletools.py` for the opcodes; PyTorch's `torch/_weights_only_unpickler.py` for the idea of an
//! allow-list, of which this is a small part.

use std::collections::BTreeMap;

use super::tensor::Dtype;

mod allowed;
#[cfg(test)]
mod tests;

use allowed::{ADVICE, Global, global, opcode_name};

/// Longest pickle; the tensors' numbers are not in it, only their names and shapes.
pub(super) const MAX_BYTES: usize = 4 << 20;

/// Most axes of a tensor; a longer tuple, used again and again, would be copied each time.
const MAX_AXES: usize = 8;

/// Index of a value.
pub(super) type Id = usize;

/// A value as far as weights need it.
pub(super) enum Value<'a> {
    /// None, a boolean, a float, a whole number beyond 64 bits.
    Plain,
    /// Lists are part of training state only; what they hold is dropped.
    List,
    Int(i64),
    Text(&'a str),
    Tuple(Vec<Id>),
    /// Keys and values in the order they were set, repeated keys included.
    Dict(Vec<(Id, Id)>),
    Global(Global),
    Storage(Storage<'a>),
    Tensor(Box<View<'a>>),
}

/// A record of numbers outside the pickle.
#[derive(Clone, Copy)]
pub(super) struct Storage<'a> {
    pub(super) dtype: Result<Dtype, &'static str>,
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
    fn step(&mut self, opcode: u8, at: usize) -> Result<(), String> {
        match opcode {
            // PROTO, FRAME
            0x80 => {
                let [version] = self.take()?;
                if !(2..=5).contains(&version) {
                    return Err(format!("its pickle has protocol {version}; 2 to 5 are read"));
                }
            }
            0x95 => drop(self.take::<8>()?),
            // NONE, NEWTRUE, NEWFALSE, BINFLOAT
            b'N' | 0x88 | 0x89 => self.push(Value::Plain),
            b'G' => {
                self.take::<8>()?;
                self.push(Value::Plain);
            }
            // BININT1, BININT2, BININT, LONG1
            b'K' => {
                let [byte] = self.take()?;
                self.push(Value::Int(byte.into()));
            }
            b'M' => {
                let value = u16::from_le_bytes(self.take()?);
                self.push(Value::Int(value.into()));
            }
            b'J' => {
                let value = i32::from_le_bytes(self.take()?);
                self.push(Value::Int(value.into()));
            }
            0x8a => {
                let [length] = self.take()?;
                let long = self.slice(length.into())?;
                self.push(long_integer(long));
            }
            // SHORT_BINUNICODE, BINUNICODE
            0x8c => {
                let [length] = self.take()?;
                self.push_text(length.into())?;
            }
            b'X' => {
                let length = u32::from_le_bytes(self.take()?);
                self.push_text(length as usize)?;
            }
            // EMPTY_DICT, EMPTY_LIST, EMPTY_TUPLE, MARK
            b'}' => self.push(Value::Dict(Vec::new())),
            b']' => self.push(Value::List),
            b')' => self.push(Value::Tuple(Vec::new())),
            b'(' => self.marks.push(self.stack.len()),
            // TUPLE, TUPLE1, TUPLE2, TUPLE3
            b't' => {
                let items = self.pop_to_mark()?;
                self.push(Value::Tuple(items));
            }
            0x85..=0x87 => {
                let mut items = vec![0; usize::from(opcode - 0x84)];
                for item in items.iter_mut().rev() {
                    *item = self.pop()?;
                }
                self.push(Value::Tuple(items));
            }
            // BINPUT, LONG_BINPUT, MEMOIZE, BINGET, LONG_BINGET
            b'q' => {
                let [slot] = self.take()?;
                self.memo.insert(slot.into(), self.top()?);
            }
            b'r' => {
                let slot = u32::from_le_bytes(self.take()?);
                self.memo.insert(slot, self.top()?);
            }
            0x94 => {
                let slot = u32::try_from(self.memo.len()).expect("no more slots than bytes");
                self.memo.insert(slot, self.top()?);
            }
            b'h' => {
                let [slot] = self.take()?;
                self.recall(slot.into())?;
            }
            b'j' => {
                let slot = u32::from_le_bytes(self.take()?);
                self.recall(slot)?;
            }
            // SETITEM, SETITEMS
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set_items(&[key, value])?;
            }
            b'u' => {
                let items = self.pop_to_mark()?;
                self.set_items(&items)?;
            }
            // APPEND, APPENDS
            b'a' => {
                self.pop()?;
                self.expect_list()?;
            }
            b'e' => {
                self.pop_to_mark()?;
                self.expect_list()?;
            }
            // BUILD: an ordered dictionary's attributes, `_metadata`, say nothing about weights.
            b'b' => {
                let state = self.pop()?;
                let both = (&self.values[self.top()?], &self.values[state]);
                if !matches!(both, (Value::Dict(_), Value::Dict(_))) {
                    return Err(format!(
                        "it sets attributes of something other than a dictionary (byte {at})"
                    ));
                }
            }
            // GLOBAL, STACK_GLOBAL
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.push(Value::Global(global(module, name)?));
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (Value::Text(module), Value::Text(name)) = (&self.values[module], &self.values[name])
                else {
                    return Err(format!("it names a global by something other than text (byte {at})"));
                };
                let found = global(module, name)?;
                self.push(Value::Global(found));
            }
            // REDUCE, BINPERSID
            b'R' => self.reduce()?,
            b'Q' => {
                let id = self.pop()?;
                let storage = self.storage(id).ok_or_else(|| {
                    format!("it refers to something outside that is no storage of numbers (byte {at})")
                })?;
                self.push(Value::Storage(storage));
            }
            other => {
                return Err(format!(
                    "its pickle uses opcode 0x{other:02x}{} at byte {at}, which weights do not need: refused; {ADVICE}",
                    opcode_name(other).map(|name| format!(" ({name})")).unwrap_or_default()
                ));
            }
        }
        Ok(())
    }

    /// The few calls on the list, done by hand.
    fn reduce(&mut self) -> Result<(), String> {
        let (arguments, callee) = (self.pop()?, self.pop()?);
        let Value::Tuple(arguments) = &self.values[arguments] else {
            return Err("it calls something with no tuple of arguments".into());
        };
        let result = match (&self.values[callee], arguments.as_slice()) {
            (Value::Global(Global::OrderedDict), []) => Value::Dict(Vec::new()),
            (Value::Global(Global::RebuildParameter), &[tensor, _, _])
                if matches!(self.values[tensor], Value::Tensor(_)) =>
            {
                self.stack.push(tensor);
                return Ok(());
            }
            (
                Value::Global(Global::RebuildTensor),
                &[storage, offset, shape, strides, _, _, ref metadata @ ..],
            ) => {
                // Metadata says that numbers are to be conjugated or negated when read.
                let plain =
                    metadata.iter().all(|&m| matches!(&self.values[m], Value::Dict(set) if set.is_empty()));
                match (&self.values[storage], &self.values[offset], self.ints(shape), self.ints(strides)) {
                    (&Value::Storage(storage), &Value::Int(offset), Some(shape), Some(strides)) if plain => {
                        Value::Tensor(Box::new(View { storage, offset, shape, strides }))
                    }
                    _ => return Err(format!("it describes a tensor in a way that is not read; {ADVICE}")),
                }
            }
            (Value::Global(_), _) => {
                return Err(format!("it calls a known name in a way that is not read; {ADVICE}"));
            }
            _ => return Err(format!("it calls something that is no function: refused; {ADVICE}")),
        };
        self.push(result);
        Ok(())
    }

    /// `("storage", class, key, device, numbers)`.
    fn storage(&self, id: Id) -> Option<Storage<'a>> {
        let Value::Tuple(items) = &self.values[id] else { return None };
        let &[kind, class, key, _, numbers] = items.as_slice() else { return None };
        match (&self.values[kind], &self.values[class], &self.values[key], &self.values[numbers]) {
            (
                Value::Text("storage"),
                &Value::Global(Global::StorageOf(dtype)),
                &Value::Text(key),
                &Value::Int(numbers),
            ) => Some(Storage { dtype, key, numbers }),
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

    fn expect_list(&self) -> Result<(), String> {
        match self.values[self.top()?] {
            Value::List => Ok(()),
            _ => Err("it appends to something that is no list".into()),
        }
    }

    fn push(&mut self, value: Value<'a>) {
        self.stack.push(self.values.len());
        self.values.push(value);
    }

    fn push_text(&mut self, length: usize) -> Result<(), String> {
        let text =
            str::from_utf8(self.slice(length)?).map_err(|_| "its pickle holds text that is not UTF-8")?;
        self.push(Value::Text(text));
        Ok(())
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

/// A little-endian two's complement number, if it fits.
fn long_integer(bytes: &[u8]) -> Value<'static> {
    if bytes.len() > 8 {
        return Value::Plain;
    }
    let sign = if bytes.last().is_some_and(|&b| b >= 0x80) { 0xff } else { 0 };
    let mut wide = [sign; 8];
    wide[..bytes.len()].copy_from_slice(bytes);
    Value::Int(i64::from_le_bytes(wide))
}
