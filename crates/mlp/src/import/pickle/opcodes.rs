//! The opcodes, by family.

use super::allowed::{ADVICE, global, opcode_name};
use super::{Machine, Value};

impl<'a> Machine<'a> {
    /// One opcode, which was at byte `at`.
    pub(super) fn step(&mut self, opcode: u8, at: usize) -> Result<(), String> {
        if let Some(value) = self.literal(opcode)? {
            self.push(value);
            return Ok(());
        }
        if self.remember(opcode)? || self.fill(opcode)? {
            return Ok(());
        }
        match opcode {
            // PROTO, FRAME
            0x80 => {
                let [version] = self.take()?;
                if !(2..=5).contains(&version) {
                    return Err(format!("its pickle has protocol {version}; 2 to 5 are read"));
                }
            }
            0x95 => drop(self.take::<8>()?),
            // MARK, POP
            b'(' => self.marks.push(self.stack.len()),
            b'0' => drop(self.pop()?),
            // GLOBAL, STACK_GLOBAL
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.push(Value::Global(global(module, name)?));
            }
            0x93 => self.stack_global(at)?,
            // REDUCE, NEWOBJ, BUILD, BINPERSID
            b'R' => self.reduce()?,
            0x81 => self.new_object(at)?,
            b'b' => self.build(at)?,
            b'Q' => self.persistent(at)?,
            other => {
                return Err(format!(
                    "its pickle uses opcode 0x{other:02x}{} at byte {at}, which weights do not need: refused; {ADVICE}",
                    opcode_name(other).map(|name| format!(" ({name})")).unwrap_or_default()
                ));
            }
        }
        Ok(())
    }

    /// The value of an opcode that is one by itself, or of what stands on the stack.
    fn literal(&mut self, opcode: u8) -> Result<Option<Value<'a>>, String> {
        Ok(Some(match opcode {
            // NONE, NEWTRUE, NEWFALSE
            b'N' => Value::Plain,
            0x88 | 0x89 => Value::Flag(opcode == 0x88),
            // EMPTY_DICT, EMPTY_LIST, EMPTY_SET, EMPTY_TUPLE
            b'}' => Value::Dict(Vec::new()),
            b']' | 0x8f => Value::List(Vec::new()),
            b')' => Value::Tuple(Vec::new()),
            // TUPLE, TUPLE1, TUPLE2, TUPLE3
            b't' => Value::Tuple(self.pop_to_mark()?),
            0x85..=0x87 => {
                let mut items = vec![0; usize::from(opcode - 0x84)];
                for item in items.iter_mut().rev() {
                    *item = self.pop()?;
                }
                Value::Tuple(items)
            }
            // BINFLOAT, BININT1, BININT2, BININT, LONG1
            b'G' => Value::Float(f64::from_be_bytes(self.take()?)),
            b'K' | b'M' | b'J' | 0x8a => self.integer(opcode)?,
            // SHORT_BINBYTES, BINBYTES, SHORT_BINUNICODE, SHORT_BINSTRING, BINUNICODE
            b'C' | b'B' => {
                let length = self.length(opcode)?;
                Value::Bytes(self.slice(length)?)
            }
            0x8c | b'U' | b'X' => {
                let length = self.length(opcode)?;
                Value::Text(self.text(length)?)
            }
            _ => return Ok(None),
        }))
    }

    fn integer(&mut self, opcode: u8) -> Result<Value<'a>, String> {
        Ok(match opcode {
            b'K' => {
                let [byte] = self.take()?;
                Value::Int(byte.into())
            }
            b'M' => Value::Int(u16::from_le_bytes(self.take()?).into()),
            b'J' => Value::Int(i32::from_le_bytes(self.take()?).into()),
            _ => {
                let [length] = self.take()?;
                long_integer(self.slice(length.into())?)
            }
        })
    }

    /// How long the bytes or the text behind the opcode are.
    fn length(&mut self, opcode: u8) -> Result<usize, String> {
        Ok(match opcode {
            b'B' | b'X' => u32::from_le_bytes(self.take()?) as usize,
            _ => {
                let [length] = self.take()?;
                length.into()
            }
        })
    }

    /// Opcodes of the memo; false for any other.
    fn remember(&mut self, opcode: u8) -> Result<bool, String> {
        match opcode {
            // BINPUT, LONG_BINPUT, MEMOIZE
            b'q' | b'r' | 0x94 => {
                let slot = match opcode {
                    0x94 => u32::try_from(self.memo.len()).expect("no more slots than bytes"),
                    _ => self.slot(opcode)?,
                };
                let top = self.top()?;
                self.memo.insert(slot, top);
            }
            // BINGET, LONG_BINGET
            b'h' | b'j' => {
                let slot = self.slot(opcode)?;
                self.recall(slot)?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn slot(&mut self, opcode: u8) -> Result<u32, String> {
        Ok(match opcode {
            b'r' | b'j' => u32::from_le_bytes(self.take()?),
            _ => {
                let [slot] = self.take()?;
                slot.into()
            }
        })
    }

    /// Opcodes that put values into a dictionary or list; false for any other.
    fn fill(&mut self, opcode: u8) -> Result<bool, String> {
        match opcode {
            // SETITEM, SETITEMS
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set_items(&[key, value])?;
            }
            b'u' => {
                let items = self.pop_to_mark()?;
                self.set_items(&items)?;
            }
            // APPEND, APPENDS, ADDITEMS
            b'a' => {
                let item = self.pop()?;
                self.append(&[item])?;
            }
            b'e' | 0x90 => {
                let items = self.pop_to_mark()?;
                self.append(&items)?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn stack_global(&mut self, at: usize) -> Result<(), String> {
        let (name, module) = (self.pop()?, self.pop()?);
        let (Value::Text(module), Value::Text(name)) = (&self.values[module], &self.values[name]) else {
            return Err(format!("it names a global by something other than text (byte {at})"));
        };
        let found = global(module, name)?;
        self.push(Value::Global(found));
        Ok(())
    }

    fn persistent(&mut self, at: usize) -> Result<(), String> {
        let id = self.pop()?;
        let storage = self.storage(id).ok_or_else(|| {
            format!("it refers to something outside that is no storage of numbers (byte {at})")
        })?;
        self.push(Value::Storage(storage));
        Ok(())
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
