//! Attacks a file of weights and says how many inputs it is sure of.
//!
//! `cargo run --release -p palimpsest-attack --example attack -- net.safetensors 3 32 32`
#![expect(clippy::print_stdout, reason = "an example speaks to the person who runs it")]

use std::error::Error;
use std::ops::ControlFlow;

use palimpsest_attack::{AttackParams, reconstruct};
use palimpsest_mlp::import::load_network;
use palimpsest_numerics::seed::Seed;

fn main() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args().skip(1);
    let path =
        words.next().ok_or("name a file of weights, and the shape of an image if inputs are images")?;
    let sides = words.map(|side| side.parse()).collect::<Result<Vec<usize>, _>>()?;
    let mut params = AttackParams::default();
    params.prior.image_shape = <[usize; 3]>::try_from(sides).ok();
    let network = load_network(path.as_ref())?.network.cast::<f32>();
    let found = reconstruct(&network, &params, Seed::new(0), &|_| ControlFlow::Continue(()))?;
    let sure = found.ranking.iter().filter(|&&i| found.confidence[i] >= 0.95).count();
    println!("{} distinct inputs, {sure} of them with a probability of 95 % or more", found.ranking.len());
    for record in &found.stages {
        let why_not = record.why_not.as_ref().map_or(String::new(), |why| format!(" ({why})"));
        println!("{}: {} candidates{why_not}", record.stage, record.candidates);
    }
    Ok(())
}
