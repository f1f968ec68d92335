//! The whole question: weights, records and references in, evidence of each record out.

use ndarray::{Array2, ArrayView2, Axis};
use palimpsest_numerics::factor::FactorError;
use palimpsest_numerics::gemm::{Parallelism, matmul};
use serde::Serialize;

use super::gradient::first_layer_deltas;
use super::multipliers::{MOST_RECORDS, multipliers};
use super::null::{Null, Weights};
use super::relative::Sample;
use super::span::{RowSpace, squares};
use super::tail::LEAST_REFERENCES;

/// Records that are measured together.
const BATCH: usize = 1024;

/// Fewest records that can be compared with each other.
pub const LEAST_RECORDS: usize = 30;

/// Squared distance, as a share of the squares, below which a record and a reference are the same.
const SAME: f64 = 1e-6;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MembershipError {
    /// Records or references have another length than what the layer takes.
    #[error("{what} have {got} values each, but the layer takes {expected}")]
    Width {
        /// Which of them.
        what: &'static str,
        /// Values of a record.
        got: usize,
        /// What the layer takes.
        expected: usize,
    },
    /// There are none.
    #[error("there are no {0}")]
    None(&'static str),
    /// Too few references for p-values.
    #[error(
        "{got} references are too few, at least {LEAST_REFERENCES} are needed: a p-value is estimated from how the largest tenth of \
         them falls off"
    )]
    FewReferences {
        /// How many there are.
        got: usize,
    },
    /// Too few records to compare them with each other.
    #[error(
        "{got} records without references cannot be compared with each other, at least {LEAST_RECORDS} are needed"
    )]
    FewRecords {
        /// How many there are.
        got: usize,
    },
    /// A number is NaN or infinite.
    #[error("row {row} of the {what} has a value that is not finite")]
    NotFinite {
        /// Which of them.
        what: &'static str,
        /// Its row, from 0.
        row: usize,
    },
    /// A row is zero throughout.
    #[error("row {row} of the {what} is zero throughout, so it lies in every span")]
    Zero {
        /// Which of them.
        what: &'static str,
        /// Its row, from 0.
        row: usize,
    },
    /// A factorisation inside failed.
    #[error(transparent)]
    Factor(#[from] FactorError),
}

/// With what the records were compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compared {
    /// With references: p-values hold for records of their kind.
    References {
        /// References that were used, without those among the records.
        used: usize,
    },
    /// With the other records: they can be ranked, and nothing more.
    Themselves,
}

/// What speaks for one record.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RecordEvidence {
    /// Logarithm of the probability that a record of the references' kind that was not trained on shows as much, at most 0;
    /// nothing without references. Files have the p-value and its decimal logarithm instead.
    #[serde(skip)]
    pub log_p: Option<f64>,
    /// What records are ranked by; larger speaks for a member.
    pub score: f64,
    /// Share of its square outside of the directions that training has written, in [0, 1].
    pub span_share: f64,
    /// How much less of it lies outside than usual for a record like it, in deviations.
    pub span_score: f64,
    /// How well its gradient is paired with the weights, in deviations; nothing without a network.
    pub gradient_score: Option<f64>,
    /// Its multiplier among all records, >= 0; nothing without a network or for very many records.
    pub multiplier: Option<f64>,
    /// Loss by the class that the network gives it.
    pub own_loss: Option<f64>,
    /// Distance of its outputs from a decision.
    pub margin: Option<f64>,
    /// How far its roughness and size are from what references have, in deviations; 0 where there are none.
    pub strangeness: f64,
    /// Row of the references that is the same, if any.
    pub same_reference: Option<usize>,
}

/// The answer.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Membership {
    /// One a record, in their order.
    pub records: Vec<RecordEvidence>,
    /// Scores of the references that were used, each as if it had not been one; none without references. Records like them that were not
    /// trained on have scores of the same law.
    pub reference_scores: Vec<f64>,
    /// With what they were compared.
    pub compared: Compared,
    /// Directions of the layer that stand out of what its start has left.
    pub rank: usize,
    /// Largest singular value that does not, as a share of the largest; 0 if all stand out.
    pub floor: f64,
}

/// Evidence that `records` (m, d) were trained on, compared with `references` (n, d) that surely were not.
///
/// References that are the same as a record are left out. The result is the same for any number of threads.
///
/// # Errors
/// [`MembershipError`] for records that do not fit the layer or are not finite, for fewer than [`LEAST_REFERENCES`] references
/// when there are any, and for weights that are all zero.
pub fn assess(
    weights: Weights<'_>,
    records: ArrayView2<'_, f32>,
    references: Option<ArrayView2<'_, f32>>,
    parallelism: Parallelism,
) -> Result<Membership, MembershipError> {
    let layer = match weights {
        Weights::Network(network, _) => network.layers()[0].weight.view(),
        Weights::Layer(layer) => layer,
    };
    check("records", records, layer.ncols())?;
    if let Some(references) = references {
        check("references", references, layer.ncols())?;
    }
    let weight = layer.mapv(f64::from);
    let space = RowSpace::of(weight.view(), parallelism)?;
    let same = references.map_or_else(
        || vec![None; records.nrows()],
        |references| same_rows(records, references, parallelism),
    );
    let kept = references.map(|references| without(references, &same));
    are_enough(records, kept.as_ref())?;
    let compared_with = match &kept {
        Some(kept) => (Sample::References, kept.view()),
        None => (Sample::Records, records),
    };
    let (null, own) = Null::of(weights, &space, compared_with, parallelism)?;
    let used = kept.as_ref().map(Array2::nrows);
    let reference_scores = used.map_or_else(Vec::new, |_| own.log_p.iter().map(|log| -log).collect());
    let measured = if used.is_some() { null.measure(records) } else { own };
    let explained = match weights {
        Weights::Network(network, outputs) if records.nrows() <= MOST_RECORDS => {
            let left = first_layer_deltas(network, outputs, records, parallelism).left;
            multipliers(weight.view(), left.view(), records.mapv(f64::from).view(), parallelism)
        }
        _ => None,
    };
    let evidence = (0..records.nrows()).map(|i| RecordEvidence {
        log_p: used.map(|_| measured.log_p[i]),
        score: -measured.log_p[i],
        span_share: measured.plain[i],
        span_score: measured.span[i],
        gradient_score: measured.gradient.as_ref().map(|scores| scores[i]),
        multiplier: explained.as_ref().map(|explained| explained[i]),
        own_loss: measured.own_loss.as_ref().map(|losses| losses[i]),
        margin: measured.margin.as_ref().map(|margins| margins[i]),
        strangeness: measured.strangeness[i],
        same_reference: same[i],
    });
    Ok(Membership {
        records: evidence.collect(),
        reference_scores,
        compared: used.map_or(Compared::Themselves, |used| Compared::References { used }),
        rank: space.rank,
        floor: space.floor() / space.singular_values[0],
    })
}

/// Whether something can be said of `records` with the references that are `kept`, or of them alone.
fn are_enough(records: ArrayView2<'_, f32>, kept: Option<&Array2<f32>>) -> Result<(), MembershipError> {
    match kept.map_or(records.nrows(), Array2::nrows) {
        got if kept.is_some() && got < LEAST_REFERENCES => Err(MembershipError::FewReferences { got }),
        got if kept.is_none() && got < LEAST_RECORDS => Err(MembershipError::FewRecords { got }),
        _ => Ok(()),
    }
}

fn check(what: &'static str, rows: ArrayView2<'_, f32>, expected: usize) -> Result<(), MembershipError> {
    if rows.nrows() == 0 {
        return Err(MembershipError::None(what));
    }
    if rows.ncols() != expected {
        return Err(MembershipError::Width { what, got: rows.ncols(), expected });
    }
    for (row, values) in rows.rows().into_iter().enumerate() {
        if !values.iter().all(|value| value.is_finite()) {
            return Err(MembershipError::NotFinite { what, row });
        }
        if values.iter().all(|&value| value == 0.0) {
            return Err(MembershipError::Zero { what, row });
        }
    }
    Ok(())
}

/// For each record the first reference that is the same.
fn same_rows(
    records: ArrayView2<'_, f32>,
    references: ArrayView2<'_, f32>,
    parallelism: Parallelism,
) -> Vec<Option<usize>> {
    let references = references.mapv(f64::from);
    let lengths = squares(references.view());
    let mut same = Vec::with_capacity(records.nrows());
    for batch in records.axis_chunks_iter(Axis(0), BATCH) {
        let batch = batch.mapv(f64::from);
        let products = matmul(batch.view(), references.t(), parallelism);
        for (row, square) in products.rows().into_iter().zip(squares(batch.view())) {
            let is_same =
                |(&product, &length): (&f64, &f64)| square + length - 2.0 * product <= SAME * square;
            same.push(row.iter().zip(&lengths).position(is_same));
        }
    }
    same
}

/// References that are no record.
fn without(references: ArrayView2<'_, f32>, same: &[Option<usize>]) -> Array2<f32> {
    let mut kept = vec![true; references.nrows()];
    for &reference in same.iter().flatten() {
        kept[reference] = false;
    }
    let kept: Vec<usize> = (0..kept.len()).filter(|&i| kept[i]).collect();
    references.select(Axis(0), &kept)
}
