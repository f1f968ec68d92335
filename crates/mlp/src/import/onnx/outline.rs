//! Where the parts of an ONNX model lie, found without decoding any.

/// Most nodes, tensors and inputs.
const MAX_PARTS: usize = 20_000;

const GRAPH: u64 = 7;
const OPSETS: u64 = 8;
const NODE: u64 = 1;
const TENSOR: u64 = 5;
const INPUT: u64 = 11;

/// Parts of the graph, as they lie in the file.
#[derive(Debug, Default)]
pub(super) struct Outline<'a> {
    pub(super) nodes: Vec<&'a [u8]>,
    pub(super) tensors: Vec<&'a [u8]>,
    pub(super) inputs: Vec<&'a [u8]>,
}

/// Looks up the parts.
pub(super) fn of(bytes: &[u8]) -> Result<Outline<'_>, String> {
    let (mut graph, mut opsets) = (None, 0_usize);
    for field in (Fields { bytes }) {
        match field? {
            (GRAPH, Some(content)) if graph.replace(content).is_some() => {
                return Err("it holds two graphs; it is damaged".into());
            }
            (OPSETS, Some(_)) => opsets += 1,
            _ => {}
        }
    }
    let graph = graph.ok_or("it holds no graph; it is no ONNX model, or damaged")?;
    if opsets == 0 {
        return Err(
            "it does not say which operators it is written in; it is truncated, so copy it again".into()
        );
    }
    let mut outline = Outline::default();
    for field in (Fields { bytes: graph }) {
        let parts = match field? {
            (NODE, Some(content)) => (&mut outline.nodes, content),
            (TENSOR, Some(content)) => (&mut outline.tensors, content),
            (INPUT, Some(content)) => (&mut outline.inputs, content),
            _ => continue,
        };
        if parts.0.len() == MAX_PARTS {
            return Err(format!("it has more than {MAX_PARTS} nodes or tensors"));
        }
        parts.0.push(parts.1);
    }
    Ok(outline)
}

/// The fields of a message: number, and content where it has a length.
struct Fields<'a> {
    bytes: &'a [u8],
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Option<&'a [u8]>), String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.bytes.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            // Nothing after damage.
            self.bytes = &[];
        }
        Some(field.ok_or_else(|| "it is no ONNX model, or damaged; copy it again".to_owned()))
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Option<(u64, Option<&'a [u8]>)> {
        let key = self.varint()?;
        let length = match key & 7 {
            0 => {
                self.varint()?;
                return Some((key >> 3, None));
            }
            1 => 8,
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                return Some((key >> 3, Some(self.take(length)?)));
            }
            5 => 4,
            _ => return None,
        };
        self.take(length)?;
        Some((key >> 3, None))
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.bytes.split_at_checked(length)?;
        self.bytes = rest;
        Some(head)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_is_refused_and_ends() {
        assert!(of(b"\x08\x08\x3a\x00\x42\x00").unwrap().nodes.is_empty());
        for (bytes, words) in [
            (&b"\x08\x08"[..], "no graph"),
            (b"\x3a\x00", "which operators"),
            (b"\x3a\x00\x3a\x00", "two graphs"),
            (b"\x3a\x05\x00", "damaged"),
            (b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "damaged"),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "damaged"),
            (b"\x0b", "damaged"),
        ] {
            assert!(of(bytes).unwrap_err().contains(words), "{bytes:?}");
        }
        let many = [&b"\x3a\xc4\xb8\x02"[..], &b"\x0a\x00".repeat(20_002), b"\x42\x00"].concat();
        assert!(of(&many).unwrap_err().contains("more than 20000"));
    }
}
