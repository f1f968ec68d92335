//! The few calls on the list, done by hand.

use super::allowed::{ADVICE, Global, opcode_name};
use super::{Id, Machine, Value, View};

impl<'a> Machine<'a> {
    /// REDUCE: a callee and a tuple of arguments.
    pub(super) fn reduce(&mut self) -> Result<(), String> {
        let (arguments, callee) = (self.pop()?, self.pop()?);
        let Value::Tuple(arguments) = &self.values[arguments] else {
            return Err("it calls something with no tuple of arguments".into());
        };
        let Value::Global(callee) = self.values[callee] else {
            return Err(format!("it calls something that is no function: refused; {ADVICE}"));
        };
        let result = self.called(callee, arguments)?;
        match result {
            Called::New(value) => self.push(value),
            Called::Known(id) => self.stack.push(id),
        }
        Ok(())
    }

    fn called(&self, callee: Global, arguments: &[Id]) -> Result<Called<'a>, String> {
        let not_read = || Err(format!("it calls a known name in a way that is not read; {ADVICE}"));
        Ok(Called::New(match (callee, arguments) {
            (Global::OrderedDict, []) => Value::Dict(Vec::new()),
            (Global::Record, &[first, ..]) if matches!(self.values[first], Value::Dict(_)) => {
                return Ok(Called::Known(first));
            }
            (Global::OrderedDict | Global::Record, _) => Value::Dict(Vec::new()),
            (Global::Sequence, &[items]) => return Ok(Called::Known(items)),
            (Global::Sequence, _) => Value::List(Vec::new()),
            (Global::Plain, _) => Value::Plain,
            (Global::Encode, &[text, _]) => match self.values[text] {
                Value::Text(text) => Value::Latin1(text),
                _ => return not_read(),
            },
            (Global::NumpyKind, &[kind, ..]) => match self.values[kind] {
                Value::Text(kind) => Value::NumpyKind(kind),
                _ => return not_read(),
            },
            (Global::NumpyScalar, &[kind, bytes]) => self.numpy_scalar(kind, bytes),
            (Global::UnreadTensor(kind), _) => Value::UnreadTensor(kind),
            (Global::RebuildParameter, &[tensor, _, _, ..])
                if matches!(self.values[tensor], Value::Tensor(_) | Value::UnreadTensor(_)) =>
            {
                return Ok(Called::Known(tensor));
            }
            // A tensor with attributes, `(function, type, arguments, state)`.
            (Global::RebuildFromType, &[function, _, inner, _]) => {
                match (&self.values[function], &self.values[inner]) {
                    (&Value::Global(function), Value::Tuple(inner))
                        if matches!(function, Global::RebuildTensor | Global::RebuildParameter) =>
                    {
                        return self.called(function, inner);
                    }
                    _ => return not_read(),
                }
            }
            // Behind them: whether a gradient is kept, hooks, and metadata.
            (Global::RebuildTensor, &[storage, offset, shape, strides, ref rest @ ..]) => {
                self.rebuilt(storage, offset, shape, strides, rest.get(2..).unwrap_or_default())?
            }
            _ => return not_read(),
        }))
    }

    /// A strided view of a storage.
    fn rebuilt(
        &self,
        storage: Id,
        offset: Id,
        shape: Id,
        strides: Id,
        metadata: &[Id],
    ) -> Result<Value<'a>, String> {
        // Metadata says that numbers are to be conjugated or negated when read.
        let plain = metadata.iter().all(|&m| match &self.values[m] {
            Value::Dict(set) => set.is_empty(),
            Value::Plain => true,
            _ => false,
        });
        match (&self.values[storage], &self.values[offset], self.ints(shape), self.ints(strides)) {
            (&Value::Storage(storage), &Value::Int(offset), Some(shape), Some(strides)) if plain => {
                Ok(Value::Tensor(Box::new(View { storage, offset, shape, strides })))
            }
            _ => Err(format!("it describes a tensor in a way that is not read; {ADVICE}")),
        }
    }

    /// NumPy's number from its kind and bytes, little-endian as NumPy writes it where that is not said.
    fn numpy_scalar(&self, kind: Id, bytes: Id) -> Value<'a> {
        let mut wide = [0; 8];
        let mut length = 0;
        let mut fill = |bytes: &mut dyn Iterator<Item = Option<u8>>| {
            for byte in bytes.take(9) {
                let (Some(byte), true) = (byte, length < 8) else { return false };
                wide[length] = byte;
                length += 1;
            }
            true
        };
        let whole = match self.values[bytes] {
            Value::Bytes(bytes) => fill(&mut bytes.iter().copied().map(Some)),
            Value::Latin1(text) => fill(&mut text.chars().map(|c| u8::try_from(u32::from(c)).ok())),
            _ => false,
        };
        let Value::NumpyKind(kind) = self.values[kind] else { return Value::Plain };
        let first4 = wide.first_chunk::<4>().map_or(0, |b| u32::from_le_bytes(*b));
        match (kind, length) {
            _ if !whole => Value::Plain,
            ("f8", 8) => Value::Float(f64::from_le_bytes(wide)),
            ("f4", 4) => Value::Float(f32::from_bits(first4).into()),
            ("i8", 8) => Value::Int(i64::from_le_bytes(wide)),
            ("i4", 4) => Value::Int(i64::from(first4.cast_signed())),
            ("u1" | "b1", 1) => Value::Int(wide[0].into()),
            ("u4", 4) => Value::Int(first4.into()),
            _ => Value::Plain,
        }
    }

    /// NEWOBJ: a class and a tuple of arguments; only records are made so.
    pub(super) fn new_object(&mut self, at: usize) -> Result<(), String> {
        let (arguments, class) = (self.pop()?, self.pop()?);
        match (&self.values[class], &self.values[arguments]) {
            (
                &Value::Global(class @ (Global::Record | Global::OrderedDict | Global::Plain)),
                Value::Tuple(_),
            ) => {
                self.push(if matches!(class, Global::Plain) {
                    Value::Plain
                } else {
                    Value::Dict(Vec::new())
                });
                Ok(())
            }
            _ => Err(format!(
                "it makes an object that is no plain record by opcode {} at byte {at}: refused; {ADVICE}",
                opcode_name(0x81).unwrap_or_default()
            )),
        }
    }

    /// BUILD: a record's attributes; those of an ordered dictionary, `_metadata`, say nothing about weights.
    pub(super) fn build(&mut self, at: usize) -> Result<(), String> {
        let state = self.pop()?;
        let top = self.top()?;
        match (&self.values[top], &self.values[state]) {
            (Value::Dict(entries), Value::Dict(_)) if entries.is_empty() && state != top => {
                self.values[top] = Value::Record(state);
                Ok(())
            }
            (Value::Dict(_), Value::Dict(_) | Value::Tuple(_) | Value::Plain)
            | (Value::NumpyKind(_) | Value::Plain | Value::Tensor(_) | Value::List(_), _) => Ok(()),
            _ => Err(format!("it sets attributes of something other than a dictionary (byte {at})")),
        }
    }
}

enum Called<'a> {
    New(Value<'a>),
    Known(Id),
}
