//! Names and shapes by hand.

use super::*;

fn named<'a>(tensors: &[(&'a str, &'a [usize])]) -> Vec<Named<'a>> {
    tensors.iter().map(|&(name, shape)| Named { name, shape, counts: false }).collect()
}

/// Weights in the order found, by name.
fn order(tensors: &[(&'static str, &[usize])]) -> Result<Vec<&'static str>, String> {
    let chain = arrange(&named(tensors), None).map_err(|e| e.to_string())?;
    Ok(chain.layers.iter().map(|layer| tensors[layer.weight].0).collect())
}

#[test]
fn numbers_order_first_and_widths_where_names_do_not() {
    let two = |a, b| order(&[(a, &[5, 5]), (b, &[5, 5])]);
    assert_eq!(two("net.10.weight", "net.9.weight").unwrap(), ["net.9.weight", "net.10.weight"]);
    assert_eq!(two("fc2.weight", "fc1.weight").unwrap(), ["fc1.weight", "fc2.weight"]);
    assert_eq!(two("W1", "W0").unwrap(), ["W0", "W1"]);
    assert!(two("encoder.weight", "decoder.weight").unwrap_err().contains("more than one order"));
    let mixed: [(&str, &[usize]); 4] = [
        ("out.weight", &[1, 8]),
        ("hidden2.weight", &[8, 8]),
        ("hidden1.weight", &[8, 8]),
        ("in.weight", &[8, 3]),
    ];
    assert_eq!(
        order(&mixed).unwrap(),
        ["in.weight", "hidden1.weight", "hidden2.weight", "out.weight"],
        "numbers order the hidden layers, which widths cannot"
    );
    let broken = order(&[("in.weight", &[8, 3]), ("out.weight", &[1, 7])]);
    assert!(broken.unwrap_err().contains("do not chain in any order"));
}

#[test]
fn strangers_are_named_for_what_they_look_like() {
    for (name, shape, word) in [
        ("conv.weight", &[4, 3, 3, 3][..], "convolution"),
        ("conv.weight", &[4, 3, 3], "convolution"),
        ("norm.weight", &[4], "normalisation"),
        ("norm.running_mean", &[4], "normalisation"),
        ("token_embedding.weight", &[100, 4], "embedding"),
        ("rnn.weight_ih_l0", &[4, 4], "recurrent"),
        ("attention.in_proj_weight", &[12, 4], "attention"),
        ("0.weight_g", &[4, 1], "remove the parametrisation"),
        ("0.alpha", &[], "neither"),
        ("0.bias", &[4], "no weight"),
        ("b", &[4], "no weight"),
        ("W", &[4, 4], "neither"),
        ("é", &[4, 4], "neither"),
        ("", &[4, 4], "neither"),
    ] {
        let error = order(&[(name, shape)]).unwrap_err();
        assert!(error.contains(word), "{name}: {error}");
    }
}

#[test]
fn two_tensors_for_one_place_are_refused() {
    for names in [["b", "b0"], ["0.bias", "0.bias"], ["l01.weight", "l1.weight"]] {
        let shape = |name: &str| if name.contains('b') { &[3][..] } else { &[3, 3][..] };
        let tensors = names.map(|name| (name, shape(name)));
        assert!(order(&tensors).unwrap_err().contains("second such tensor"), "{names:?}");
    }
    let huge = ["l99999999999999999999.weight", "l99999999999999999998.weight"];
    assert!(order(&huge.map(|name| (name, &[3, 3][..]))).unwrap_err().contains("second such tensor"));
}

#[test]
fn a_hostile_set_of_names_ends_soon() {
    // Widths that chain almost always but never to an end: 2^64 orders to look at.
    let names: Vec<String> = (0..128).map(|i| format!("{}.weight", "x".repeat(i + 1))).collect();
    let mut tensors: Vec<(&str, &[usize])> = names.iter().map(|n| (n.as_str(), &[2, 2][..])).collect();
    tensors.push(("end.weight", &[9, 8]));
    assert!(arrange(&named(&tensors), None).unwrap_err().to_string().contains("hard to tell"));
    let names: Vec<String> = (0..300).map(|i| format!("{i}.weight")).collect();
    let many: Vec<(&str, &[usize])> = names.iter().map(|n| (n.as_str(), &[2, 2][..])).collect();
    assert!(arrange(&named(&many), None).unwrap_err().to_string().contains("more than 256"));
}
