//! Shadows: networks trained as the victim was, on other examples.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use anyhow::{Result, bail, ensure};
use ndarray::{Array1, Array2, ArrayView1};
use palimpsest::judging::data::DataArgs;
use palimpsest::terminal::{clock, interrupt, output};
use palimpsest_datasets::{DataName, Dataset};
use palimpsest_mlp::passes::outputs;
use palimpsest_numerics::gemm::Parallelism;
use palimpsest_numerics::seed::Seed;
use palimpsest_runs::files;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use super::super::defences::{Case, Network, Training, trained_on};
use super::super::nulls::write_examples;
use super::super::unfinished::broken_off;
use super::super::victims::ReproduceArgs;
use super::records::{Asked, Records, stacked};

/// How the shadows of a network are trained, and how many.
pub(super) struct Shadows<'a> {
    pub(super) args: &'a ReproduceArgs,
    pub(super) case: &'a Case,
    pub(super) training: &'a Training,
    pub(super) wanted: usize,
    pub(super) limit_s: Option<f64>,
}

/// What a shadow says, `margins.json`; nothing of what it was trained on.
#[derive(Serialize, Deserialize)]
struct Said {
    records: Vec<Option<f64>>,
    population: Vec<Option<f64>>,
    seconds: f64,
}

impl Shadows<'_> {
    /// Margins of records (K, m) and of the population (K, k) in each shadow, NaN where a shadow was trained on them, and the seconds of all
    /// trainings. A shadow that is done is not trained again; the limit is of this call.
    pub(super) fn margins(&self, asked: &Asked) -> Result<(Array2<f64>, Array2<f64>, f64)> {
        let folder = self.case.folder(self.args).join("shadows");
        let (mut of_records, mut of_population, mut seconds) = (Vec::new(), Vec::new(), 0.0);
        let start = clock::now();
        for number in 0..self.wanted {
            if interrupt::requested() {
                bail!(broken_off(self.args));
            }
            let folder = folder.join(number.to_string());
            let file = folder.join("margins.json");
            let in_time =
                || self.limit_s.is_none_or(|s| clock::now().saturating_sub(start).as_secs_f64() < s);
            if !file.exists() {
                if !in_time() {
                    output::note(&format!("{number} of {} shadows are done in time", self.wanted));
                    break;
                }
                output::note(&format!("shadow {} of {}", number + 1, self.wanted));
                files::write_json(&file, &self.one(asked, number, &folder)?)?;
                for part in ["train.npz", "test.npz"] {
                    fs::remove_file(folder.join(part))?;
                }
                fs::remove_dir_all(folder.join("victim"))?;
            }
            let said: Said = files::read_json(&file)?;
            let numbers = |of: Vec<Option<f64>>| of.into_iter().map(|v| v.unwrap_or(f64::NAN)).collect();
            of_records.push(numbers(said.records));
            of_population.push(numbers(said.population));
            seconds += said.seconds;
        }
        Ok((stacked(&of_records)?, stacked(&of_population)?, seconds))
    }

    /// Trains one, of examples that the victim was not trained on.
    fn one(&self, asked: &Asked, number: usize, folder: &Path) -> Result<Said> {
        let start = clock::now();
        let seed = Seed::new(self.case.seed).named("shadows").indexed(number as u64);
        let real = self.case.data(self.args, self.training.times.unwrap_or(1), self.training.subtract)?;
        let drawn = drawn(&asked.rest, real.n.unwrap_or(self.case.n), &seed)?;
        write_examples(&asked.rest.select(&drawn)?, folder)?;
        let data = DataArgs {
            data: DataName::Npz,
            data_dir: Some(folder.to_path_buf()),
            n: Some(drawn.len()),
            block: None,
            ..real
        };
        let own_seed = self.case.seed.wrapping_mul(1_000).wrapping_add(number as u64 + 1);
        let network =
            trained_on(self.args, self.case, self.training, data, (own_seed, folder.join("victim")))?;
        let drawn: HashSet<usize> = drawn.into_iter().collect();
        let unseen = |records: &Records| -> Result<Vec<Option<f64>>> {
            let margins = margins(&network, records)?;
            let of = |(i, &margin): (usize, &f64)| {
                let place = i.checked_sub(records.members).map(|other| records.places[other]);
                (!place.is_some_and(|place| drawn.contains(&place))).then_some(margin)
            };
            Ok(margins.iter().enumerate().map(of).collect())
        };
        let (records, population) = (unseen(&asked.records)?, unseen(&asked.population)?);
        Ok(Said { records, population, seconds: clock::now().saturating_sub(start).as_secs_f64() })
    }
}

/// Places of so many of the examples, equally many of each label of the file as far as there are, in an order that is drawn.
fn drawn(examples: &Dataset, n: usize, seed: &Seed) -> Result<Vec<usize>> {
    let mut rows: Vec<usize> = (0..examples.count()).collect();
    rows.shuffle(&mut seed.rng());
    let labels = examples.labels();
    let mut seen = [0_usize; 256];
    let mut by_turn: Vec<(usize, usize)> = rows
        .into_iter()
        .map(|row| {
            let turn = &mut seen[usize::from(labels[row])];
            *turn += 1;
            (*turn, row)
        })
        .collect();
    by_turn.sort_unstable();
    ensure!(by_turn.len() >= n, "{} examples are left for shadows of {n}", by_turn.len());
    Ok(by_turn[..n].iter().map(|&(_, row)| row).collect())
}

/// How far the output of its own label is ahead, of each record (m): the logit of its probability; of a regression minus its squared error.
pub(super) fn margins(network: &Network, records: &Records) -> Result<Array1<f64>> {
    let inputs = network.data.scaling.apply(records.raw.view());
    let parallelism = Parallelism::of_threads(rayon::current_num_threads());
    let told = outputs(&network.weights, inputs.view(), parallelism);
    let label = |class: u8| network.data.sets.iter().position(|set| set.contains(&class));
    let mut found = Array1::zeros(records.labels.len());
    for ((margin, &class), row) in found.iter_mut().zip(&records.labels).zip(told.rows()) {
        if let Some((mean, deviation)) = network.data.label_scale {
            *margin = -(f64::from(row[0]) - (f64::from(class) - mean) / deviation).powi(2);
            continue;
        }
        let Some(label) = label(class) else { bail!("the network knows no label {class}") };
        *margin = if row.len() == 1 {
            // Of two sets the first in order is -1.
            f64::from(row[0]) * if label == 1 { 1.0 } else { -1.0 }
        } else {
            softmax_margin(row, label)
        };
    }
    Ok(found)
}

fn softmax_margin(row: ArrayView1<'_, f32>, label: usize) -> f64 {
    let others = || row.iter().enumerate().filter(|(c, _)| *c != label).map(|(_, &v)| f64::from(v));
    let largest = others().fold(f64::NEG_INFINITY, f64::max);
    f64::from(row[label]) - largest - others().map(|v| (v - largest).exp()).sum::<f64>().ln()
}

#[cfg(test)]
mod tests {
    use ndarray::array;
    use palimpsest_datasets::InputShape;

    use super::*;

    #[test]
    fn a_margin_is_the_logit_of_the_probability() {
        let row = array![1.0_f32, 2.0, 0.5];
        let sum: f64 = row.iter().map(|&v| f64::from(v).exp()).sum();
        let p = 2_f64.exp() / sum;
        assert!((softmax_margin(row.view(), 1) - (p / (1.0 - p)).ln()).abs() < 1e-9);
    }

    #[test]
    fn shadows_draw_as_many_of_each_label() {
        let inputs = Array2::from_shape_fn((40, 2), |(i, _)| i as f32);
        let labels = (0..40).map(|i| if i < 30 { 0 } else { 1 }).collect();
        let all = Dataset::new(inputs, labels, InputShape::Vector { len: 2 }, "all").unwrap();
        let some = drawn(&all, 10, &Seed::new(1)).unwrap();
        assert_eq!(some.iter().filter(|&&row| all.labels()[row] == 1).count(), 5);
        assert_ne!(drawn(&all, 10, &Seed::new(2)).unwrap(), some);
        assert!(drawn(&all, 41, &Seed::new(1)).is_err());
    }
}
