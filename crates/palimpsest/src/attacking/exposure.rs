//! What the weights say before an attack, as the report words it.

use palimpsest_attack::problem::later_layers::LOOKED_AT;
use palimpsest_attack::{Exposure, ExposureLevel};
use palimpsest_report::{Exposure as Verdict, ExposureView, Sign};

/// The verdict of `found` with its signs; `spectrum` are the singular values of the first layer, descending.
pub fn exposure(found: &Exposure, spectrum: &[f32]) -> ExposureView {
    let verdict = match found.level {
        ExposureLevel::Promising => Verdict::Exposed,
        ExposureLevel::Crowded => Verdict::Unclear,
        ExposureLevel::NothingLearned => Verdict::Unlikely,
    };
    let rank = found.rank;
    let mut signs = vec![
        sign(
            "directions written by training",
            format!("{rank} of {}", spectrum.len()),
            "Gradient descent moves the first layer only along its training inputs; the rest keeps its random start.",
        ),
        sign(
            "neurons a direction",
            format!("{:.1}", found.width as f64 / rank.max(1) as f64),
            "Each neuron of the first layer is one more equation about the examples: more means more exposed.",
        ),
    ];
    if let (Some(&last), Some(&floor)) = (spectrum.get(rank.wrapping_sub(1)), spectrum.get(rank))
        && floor > 0.0
    {
        signs.push(sign(
            "weakest signal above the floor",
            match last / floor {
                large if large >= 100.0 => format!("{large:.0} times"),
                ratio => format!("{ratio:.1} times"),
            },
            "The wider this gap, the surer the number of directions.",
        ));
    }
    signs.extend(later_layers(found));
    signs.push(sign(
        "biases after the first layer",
        if found.homogeneous { "none" } else { "yes" }.into(),
        if found.homogeneous {
            "The network is homogeneous, as the theory of the attack asks."
        } else {
            "The theory of the attack does not cover them; it reads the first layer all the same."
        },
    ));
    ExposureView { verdict, sentence: found.sentences(), signs }
}

fn sign(name: &str, value: String, reading: &str) -> Sign {
    Sign { name: name.into(), value, reading: reading.into() }
}

/// What training has written into hidden layers after the first, if there are such.
fn later_layers(found: &Exposure) -> Option<Sign> {
    if found.later_layers.is_empty() {
        return None;
    }
    let directions: Vec<String> = found
        .later_layers
        .iter()
        .map(|layer| match layer.directions {
            many if many > LOOKED_AT => format!("more than {LOOKED_AT} of {}", layer.neurons),
            few => format!("{few} of {}", layer.neurons),
        })
        .collect();
    Some(sign(
        "directions written into later hidden layers",
        directions.join(", "),
        if found.decayed() {
            "Hardly anything else is left of them: the mark of weight decay, under which weights leak most."
        } else {
            "The rest is their random start: no mark of strong weight decay."
        },
    ))
}

#[cfg(test)]
mod tests {
    use palimpsest_attack::LaterLayer;

    use super::*;

    #[test]
    fn every_level_has_a_verdict_and_its_signs() {
        let found = |level, rank| Exposure {
            level,
            rank,
            examples_suggested: rank + 1,
            width: 1000,
            homogeneous: true,
            later_layers: vec![LaterLayer { neurons: 1000, merged: 2, directions: 2, floor: 1e-4 }],
        };
        let mut spectrum = vec![1.0_f32; 1000];
        spectrum[..99].fill(4.0);
        let view = exposure(&found(ExposureLevel::Promising, 99), &spectrum);
        assert_eq!((view.verdict, view.signs.len()), (Verdict::Exposed, 5));
        assert!(view.signs.iter().any(|sign| sign.value == "4.0 times"), "{view:?}");
        assert_eq!(exposure(&found(ExposureLevel::Crowded, 1000), &spectrum).verdict, Verdict::Unclear);
        assert_eq!(exposure(&found(ExposureLevel::NothingLearned, 0), &spectrum).verdict, Verdict::Unlikely);
    }
}
