//! Records that are asked about, and a population of others.

use std::collections::HashSet;

use anyhow::{Result, ensure};
use ndarray::{Array1, Array2, ArrayView1, Axis, concatenate};
use palimpsest_datasets::{Dataset, Split};
use palimpsest_numerics::seed::Seed;
use rand::seq::SliceRandom;

/// Records with what they are: members first.
pub(super) struct Records {
    pub(super) members: usize,
    /// As they are in the file, (m, d).
    pub(super) raw: Array2<f32>,
    /// Labels of the file, (m).
    pub(super) labels: Vec<u8>,
    /// Places of the others among all that was not trained on.
    pub(super) places: Vec<usize>,
}

/// Members and others, a population of yet others, and all that was not trained on.
pub(super) struct Asked {
    pub(super) records: Records,
    pub(super) population: Records,
    pub(super) rest: Dataset,
}

/// Others that are asked, where there are enough examples.
const OTHERS: usize = 2000;
/// Most and fewest references, as far as there are.
const REFERENCES: (usize, usize) = (1000, 500);

impl Asked {
    /// Of the training set `train` and whatever else the files hold, drawn anew for each seed.
    pub(super) fn of(train: &Dataset, files: &Split, seed: &Seed) -> Result<Self> {
        let all = Dataset::concat(&[files.train.clone(), files.test.clone()], "all examples")?;
        let rest = without(&all, train)?;
        let (references, others) = shares(rest.count());
        ensure!(references > 0, "nothing is left that was not trained on");
        let mut places: Vec<usize> = (0..rest.count()).collect();
        places.shuffle(&mut seed.rng());
        let of_population = places.split_off(others);
        let population = Records::of(None, &rest, of_population[..references].to_vec())?;
        Ok(Self { records: Records::of(Some(train), &rest, places)?, population, rest })
    }
}

impl Records {
    fn of(members: Option<&Dataset>, rest: &Dataset, places: Vec<usize>) -> Result<Self> {
        let others = rest.select(&places)?;
        let Some(members) = members else {
            let (raw, labels) = (others.inputs().to_owned(), others.labels().to_vec());
            return Ok(Self { members: 0, raw, labels, places });
        };
        Ok(Self {
            members: members.count(),
            raw: concatenate(Axis(0), &[members.inputs(), others.inputs()])?,
            labels: [members.labels(), others.labels()].concat(),
            places,
        })
    }
}

/// How many of the examples that were not trained on are references, and how many others.
fn shares(rest: usize) -> (usize, usize) {
    let references = rest.saturating_sub(OTHERS).clamp(REFERENCES.1.min(rest / 3), REFERENCES.0);
    (references, OTHERS.min(rest - references))
}

/// The examples of `all` that are not among `some`.
fn without(all: &Dataset, some: &Dataset) -> Result<Dataset> {
    let bits = |row: ArrayView1<'_, f32>| row.iter().map(|v| v.to_bits()).collect::<Vec<u32>>();
    let known: HashSet<Vec<u32>> = some.inputs().rows().into_iter().map(bits).collect();
    let inputs = all.inputs();
    let rows = inputs.rows().into_iter().enumerate();
    let rest: Vec<usize> = rows.filter(|(_, row)| !known.contains(&bits(*row))).map(|(i, _)| i).collect();
    Ok(all.select(&rest)?)
}

/// Rows of equal length as a matrix.
pub(super) fn stacked(rows: &[Array1<f64>]) -> Result<Array2<f64>> {
    let columns = rows.first().map_or(0, Array1::len);
    let flat: Vec<f64> = rows.iter().flatten().copied().collect();
    Ok(Array2::from_shape_vec((rows.len(), columns), flat)?)
}

#[cfg(test)]
mod tests {
    use palimpsest_datasets::{DataName, load};

    use super::*;

    #[test]
    fn examples_are_shared_out() {
        assert_eq!(shares(20_000), (1000, 2000));
        assert_eq!(shares(2900), (900, 2000));
        assert_eq!(shares(2500), (500, 2000));
        assert_eq!(shares(1500), (500, 1000));
        assert_eq!(shares(9), (3, 6));
    }

    #[test]
    fn nothing_is_asked_twice_and_no_reference_was_trained_on() {
        let files = load(DataName::Digits, None).unwrap();
        let train = files.train.select(&(0..40).collect::<Vec<_>>()).unwrap();
        let asked = Asked::of(&train, &files, &Seed::new(1)).unwrap();
        let (records, population) = (&asked.records, &asked.population);
        assert_eq!((records.members, population.members), (40, 0));
        assert_eq!(records.raw.nrows(), 40 + records.places.len());
        let mut places = [records.places.clone(), population.places.clone()].concat();
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len(), records.places.len() + population.places.len());
        for (row, &place) in records.raw.rows().into_iter().skip(40).zip(&records.places) {
            assert_eq!(row, asked.rest.inputs().row(place));
        }
        let trained = |row: ArrayView1<'_, f32>| train.inputs().rows().into_iter().any(|other| other == row);
        assert!(!asked.rest.inputs().rows().into_iter().any(trained));
    }
}
