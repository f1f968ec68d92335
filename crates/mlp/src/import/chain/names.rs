//! What a tensor is, by its name: a layer's weight or bias, part of a layer that is not read, or neither.

/// Longest name of a weight or bias, in bytes.
const MAX_NAME_BYTES: usize = 256;

/// The names that are understood, as a user may want to hear when none was.
pub(crate) const NAMES_THAT_ARE_READ: &str = "names that are read: NAME.weight and NAME.bias, NAME.kernel and NAME.bias, NAME_weight and NAME_bias, W0 and b0 \
     (w1, weight_1, kernel1, bias_1), coefs_0 and intercepts_0, arr_0 and so on of numpy.savez";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Weight,
    /// A weight that is (in, out) by its name.
    Kernel,
    Bias,
}

/// The layer a name belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// What stands before the part, with `#` for each number; layers of one group differ in `numbers` only.
    pub(super) group: String,
    pub(super) numbers: Vec<u64>,
    /// The layer as the file calls it.
    pub(super) module: String,
    pub(super) part: Part,
    /// Whether the name says so without doubt; `pos_weight` may be something else.
    pub(super) certain: Certainty,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Certainty {
    Certain,
    /// The shape must agree.
    ByShape,
}

/// Whether a tensor of that name may be a layer's weight or bias.
pub(crate) fn is_part(name: &str) -> bool {
    place(name).is_some() || numbered_array(name).is_some()
}

/// Whether a tensor of that name shows that weights are kept where it is, of whatever kind of layer.
pub(crate) fn tells_of_weights(name: &str) -> bool {
    name.len() <= MAX_NAME_BYTES && (name.contains("weight") || place(name).is_some())
}

/// The number of an array that `numpy.savez` named itself, `arr_3`.
pub(super) fn numbered_array(name: &str) -> Option<u64> {
    name.strip_prefix("arr_")?.parse().ok()
}

/// The place of a name, if it is one of a weight or bias.
pub(super) fn place(name: &str) -> Option<Place> {
    if name.len() > MAX_NAME_BYTES || why_strange(name) != NEITHER {
        return None;
    }
    // Keras writes `dense/kernel:0`, Flax `params/Dense_0/kernel`.
    let plain = name.rsplit_once(':').filter(|(_, n)| is_digits(n)).map_or(name, |(before, _)| before);
    let dotted = plain.replace('/', ".");
    let (prefix, last) = dotted.rsplit_once('.').unwrap_or(("", &dotted));
    let found = |module: &str, part, certain| {
        let (group, numbers) = split_numbers(module);
        Some(Place { group, numbers, module: module.to_owned(), part, certain })
    };
    if let Some(part) = whole_word(last, prefix) {
        return found(prefix, part, Certainty::Certain);
    }
    if prefix.is_empty() && last == "b" {
        let (group, module) = ("W#".to_owned(), "W0".to_owned());
        return Some(Place {
            group,
            numbers: vec![0],
            module,
            part: Part::Bias,
            certain: Certainty::Certain,
        });
    }
    let above =
        |module: &str| if prefix.is_empty() { module.to_owned() } else { format!("{prefix}.{module}") };
    // `W0`, `w_1`, `coefs_0`.
    let stem = last.trim_end_matches(|c: char| c.is_ascii_digit());
    let digits = &last[stem.len()..];
    if !digits.is_empty()
        && let Some(part) = word(stem.trim_end_matches(['_', '-']))
    {
        return found(&above(&format!("W{digits}")), part, Certainty::Certain);
    }
    // `fc1_weight`, `W_hidden`.
    let ends = last.rsplit_once('_').and_then(|(module, end)| Some((module, word(end)?)));
    let begins = || last.split_once('_').and_then(|(start, module)| Some((module, word(start)?)));
    let (module, part) = ends.or_else(begins)?;
    (!module.is_empty()).then(|| found(&above(module), part, Certainty::ByShape))?
}

/// A last component that is a part by itself.
fn whole_word(last: &str, prefix: &str) -> Option<Part> {
    match last {
        "weight" => Some(Part::Weight),
        "kernel" => Some(Part::Kernel),
        "bias" => Some(Part::Bias),
        // Letters alone could be anything.
        _ if prefix.is_empty() => None,
        _ => word(last),
    }
}

fn word(word: &str) -> Option<Part> {
    Some(match word.to_ascii_lowercase().as_str() {
        "w" | "weight" | "weights" => Part::Weight,
        "kernel" | "kernels" | "coef" | "coefs" => Part::Kernel,
        "b" | "bias" | "biases" | "intercept" | "intercepts" => Part::Bias,
        _ => return None,
    })
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit())
}

pub(super) fn split_numbers(prefix: &str) -> (String, Vec<u64>) {
    let (mut letters, mut numbers) = (String::new(), Vec::new());
    for piece in prefix.chars().collect::<Vec<_>>().chunk_by(|a, b| a.is_ascii_digit() == b.is_ascii_digit())
    {
        if piece[0].is_ascii_digit() {
            letters.push('#');
            // Numbers beyond u64 collide, and what collides is refused.
            numbers.push(piece.iter().collect::<String>().parse().unwrap_or(u64::MAX));
        } else {
            letters.extend(piece);
        }
    }
    (letters, numbers)
}

/// Whether the name is one of an adapter: a small correction of a base model that is not in the file.
pub(super) fn is_adapter(name: &str) -> bool {
    name.len() <= MAX_NAME_BYTES
        && name.split(['.', '_', '/']).any(|word| {
            matches!(word.to_ascii_lowercase().as_str(), "lora" | "dora" | "loha" | "hada" | "lokr" | "ia3")
        })
}

/// What is said of a tensor of which nothing else is known.
pub(super) const NEITHER: &str = "is neither a weight (out, in) nor a bias (out)";

/// What a tensor that is no weight and no bias looks like.
pub(super) fn why_strange(name: &str) -> &'static str {
    let last = name.rsplit(['.', '/']).next().unwrap_or(name);
    match last {
        "running_mean" | "running_var" | "moving_mean" | "moving_variance" | "gamma" => {
            "looks like a normalisation layer"
        }
        "weight_g" | "weight_v" | "original" | "original0" | "original1" | "weight_orig" | "weight_mask" => {
            "is a weight in parts (normalised or pruned); remove the parametrisation before saving"
        }
        _ if last.starts_with("weight_ih") || last.starts_with("weight_hh") => "looks like a recurrent layer",
        _ if last.starts_with("bias_ih") || last.starts_with("bias_hh") => "looks like a recurrent layer",
        "recurrent_kernel" => "looks like a recurrent layer",
        "bias_k" | "bias_v" => "looks like attention",
        _ if last.contains("proj") => "looks like attention",
        _ => NEITHER,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_all_who_write_networks_have_their_place() {
        use Part::{Bias, Kernel, Weight};
        for (name, group, numbers, part) in [
            ("layers.0.weight", "layers.#", &[0][..], Weight),
            ("model.2.bias", "model.#", &[2], Bias),
            ("fc1.weight", "fc#", &[1], Weight),
            ("fc1_weight", "fc#", &[1], Weight),
            ("W_hidden", "hidden", &[], Weight),
            ("W0", "W#", &[0], Weight),
            ("w_12", "W#", &[12], Weight),
            ("weight1", "W#", &[1], Weight),
            ("b", "W#", &[0], Bias),
            ("b3", "W#", &[3], Bias),
            ("params.W1", "params.W#", &[1], Weight),
            ("coefs_0", "W#", &[0], Kernel),
            ("intercepts_0", "W#", &[0], Bias),
            ("dense_1/kernel:0", "dense_#", &[1], Kernel),
            ("params/Dense_0/bias", "params.Dense_#", &[0], Bias),
            ("blocks.0.fc2.weight", "blocks.#.fc#", &[0, 2], Weight),
            ("weight", "", &[], Weight),
        ] {
            let place = place(name).unwrap_or_else(|| panic!("{name}"));
            assert_eq!(
                (place.group.as_str(), &place.numbers[..], place.part),
                (group, numbers, part),
                "{name}"
            );
        }
        for name in [
            "W",
            "w",
            "mean",
            "0.alpha",
            "running_mean",
            "0.weight_g",
            "é",
            "",
            "_weight",
            "x.in_proj_weight",
        ] {
            assert_eq!(place(name), None, "{name}");
        }
        assert_eq!(place("pos_weight").unwrap().certain, Certainty::ByShape);
        assert_eq!(place(&format!("{}.weight", "x".repeat(300))), None);
    }
}
