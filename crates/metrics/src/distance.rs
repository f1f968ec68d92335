//! How far a row of plain numbers is from its nearest candidate, every column in its own unit.
//!
//! Pictures look alike or not; a row of a table is right when its numbers are. The scaled distance of two rows is the
//! root mean square of their differences, each divided by the standard deviation of its column over the training rows:
//! 0 is the row itself, and two unrelated rows are about the root of 2 apart.

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis};
use palimpsest_numerics::reduce;
use palimpsest_numerics::seed::Seed;
#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};

use crate::image::check_finite;
use crate::null_model::NullModel;
use crate::table::RowKind;
use crate::tally::{Counter, HELD_OUT_RATE, quantile};
use crate::{CandidateImages, MetricsError, Result, TargetImages};

/// The candidate nearest to a row.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
pub struct Neighbour {
    /// Row of the candidate.
    pub candidate: usize,
    /// Scaled distance, at least 0.
    pub distance: f64,
}

/// The nearest candidate of each target, of one contest.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
pub struct RowDistances {
    /// Who competes.
    pub kind: RowKind,
    /// One entry a target, in order.
    pub nearest: Vec<Neighbour>,
}

/// All counts by scaled distance.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
pub struct DistanceTable {
    /// The distance that [`HELD_OUT_RATE`] of the held-out rows fall below.
    pub threshold: f64,
    /// Counts, in the order given.
    pub rows: Vec<DistanceRow>,
}

/// Count of one contest. To be found is to be nearer than the threshold.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
pub struct DistanceRow {
    /// Who competes.
    pub kind: RowKind,
    /// Number of targets n.
    pub n: usize,
    /// Targets nearer than the threshold.
    pub within: usize,
    /// Interval of that count, as in [`Tally`](crate::tally::Tally::interval).
    pub interval: [f64; 2],
    /// Mean of the ten smallest distances (of all, when there are fewer).
    pub mean_of_ten_nearest: f64,
}

impl DistanceTable {
    /// The first row of a kind.
    pub fn row(&self, kind: RowKind) -> Option<&DistanceRow> {
        self.rows.iter().find(|row| row.kind == kind)
    }
}

/// Standard deviation of each column (d) of `rows` (n, d), divided by n; a constant column gets 1.
///
/// # Errors
/// [`MetricsError::Empty`]; [`MetricsError::NonFinite`] with the row.
pub fn column_deviations(rows: ArrayView2<'_, f32>) -> Result<Array1<f64>> {
    check_finite("rows", rows)?;
    let deviation = |column: ArrayView1<'_, f32>| {
        let values: Vec<f64> = column.iter().map(|&v| f64::from(v)).collect();
        let n = values.len() as f64;
        let mean = reduce::sum(&values) / n;
        let squares: Vec<f64> = values.iter().map(|v| (v - mean) * (v - mean)).collect();
        let deviation = (reduce::sum(&squares) / n).sqrt();
        if deviation > 0.0 { deviation } else { 1.0 }
    };
    Ok(rows.axis_iter(Axis(1)).map(deviation).collect())
}

/// Scaled distances (n targets, m candidates) of rows (n, d) and (m, d) with columns of deviation `deviations` (d).
///
/// # Errors
/// [`MetricsError::Empty`]; [`MetricsError::NonFinite`] with the row.
///
/// # Panics
/// When the widths differ.
///
/// ```
/// use ndarray::array;
/// use palimpsest_metrics::distance::scaled_distances;
/// let (truth, found) = (array![[1.0, 100.0]], array![[1.0, 100.0], [2.0, 200.0]]);
/// let distances = scaled_distances(truth.view(), found.view(), array![1.0, 100.0].view())?;
/// assert_eq!(distances, array![[0.0, 1.0]]);
/// # Ok::<(), palimpsest_metrics::MetricsError>(())
/// ```
#[track_caller]
pub fn scaled_distances(
    targets: ArrayView2<'_, f32>,
    candidates: ArrayView2<'_, f32>,
    deviations: ArrayView1<'_, f64>,
) -> Result<Array2<f64>> {
    let d = deviations.len();
    assert!(
        targets.ncols() == d && candidates.ncols() == d,
        "targets {:?}, candidates {:?} and {d} deviations",
        targets.dim(),
        candidates.dim()
    );
    check_finite("targets", targets)?;
    check_finite("candidates", candidates)?;
    let mut distances = Array2::zeros((targets.nrows(), candidates.nrows()));
    let mut squares = vec![0.0; d];
    for (i, mut row) in distances.axis_iter_mut(Axis(0)).enumerate() {
        for (j, distance) in row.iter_mut().enumerate() {
            for (k, square) in squares.iter_mut().enumerate() {
                let gap = (f64::from(targets[[i, k]]) - f64::from(candidates[[j, k]])) / deviations[k];
                *square = gap * gap;
            }
            *distance = (reduce::sum(&squares) / d as f64).sqrt();
        }
    }
    Ok(distances)
}

/// Finds the nearest candidate of every training row, then that of every null: one entry each.
///
/// Deviations are those of the training rows, for every contest.
///
/// # Errors
/// What [`scaled_distances`] refuses.
///
/// # Panics
/// When widths differ.
#[track_caller]
pub fn judge_rows<'a>(
    attack: CandidateImages<'a>,
    training: TargetImages<'a>,
    nulls: &[NullModel<'a>],
) -> Result<Vec<RowDistances>> {
    let deviations = column_deviations(training.images().centered)?;
    let contests = nulls.iter().map(|null| (null.kind(), null.contest(attack, training)));
    std::iter::once((RowKind::Training, (attack, training)))
        .chain(contests)
        .map(|(kind, (candidates, targets))| {
            let (candidates, targets) = (candidates.images().centered, targets.images().centered);
            let distances = scaled_distances(targets, candidates, deviations.view())?;
            Ok(RowDistances { kind, nearest: distances.rows().into_iter().map(nearest).collect() })
        })
        .collect()
}

/// Counts every contest at the held-out threshold; the bootstrap draws from the stream `distances` of the seed.
///
/// # Errors
/// [`MetricsError::Rows`] when there is not exactly one held-out entry; [`MetricsError::Empty`] when one has no rows.
pub fn distance_table(rows: &[RowDistances], seed: &Seed) -> Result<DistanceTable> {
    let held_out: Vec<_> = rows.iter().filter(|row| row.kind == RowKind::HeldOut).collect();
    let [held_out] = held_out[..] else {
        return Err(MetricsError::Rows { kind: "held_out", got: held_out.len() });
    };
    if rows.iter().any(|row| row.nearest.is_empty()) {
        return Err(MetricsError::Empty { what: "distances of a row", rows: 0, columns: 1 });
    }
    // Counting is by "larger is better", so nearness is the distance below zero.
    let nearness = |row: &RowDistances| row.nearest.iter().map(|n| -n.distance).collect::<Vec<f64>>();
    let threshold = quantile(&nearness(held_out), 1.0 - HELD_OUT_RATE);
    let counter = Counter::new(&nearness(held_out), threshold, threshold, seed.named("distances"));
    let rows = rows.iter().map(|row| {
        let scores = nearness(row);
        let tally = counter.tally(&scores, &scores);
        DistanceRow {
            kind: row.kind,
            n: scores.len(),
            within: tally.above_threshold,
            interval: tally.interval,
            mean_of_ten_nearest: -tally.mean_of_ten_best,
        }
    });
    Ok(DistanceTable { threshold: -threshold, rows: rows.collect() })
}

fn nearest(distances: ArrayView1<'_, f64>) -> Neighbour {
    let mut best = Neighbour { candidate: 0, distance: f64::INFINITY };
    for (candidate, &distance) in distances.iter().enumerate() {
        if distance < best.distance {
            best = Neighbour { candidate, distance };
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;
    use crate::ImageShape;
    use crate::null_model::random_noise;

    #[test]
    fn columns_count_alike_whatever_their_unit() {
        let rows = array![[1.0, 1000.0, 5.0], [3.0, 3000.0, 5.0]];
        assert_eq!(column_deviations(rows.view()).unwrap(), array![1.0, 1000.0, 1.0]);
        let noise = random_noise(40, 5, 1.0, &Seed::new(1));
        let units = array![1.0, 1e-3, 50.0, 7.0, 1e4];
        let deviations = |rows: &Array2<f32>| column_deviations(rows.view()).unwrap();
        let own =
            |rows: &Array2<f32>| scaled_distances(rows.view(), rows.view(), deviations(rows).view()).unwrap();
        for (a, b) in own(&noise).iter().zip(&own(&(&noise * &units))) {
            assert!((a - b).abs() < 1e-4, "{a} {b}");
        }
        // The mean square over pairs of rows is twice the variance.
        let all = own(&noise);
        let mean_square = reduce::sum(&all.iter().map(|v| v * v).collect::<Vec<_>>()) / all.len() as f64;
        assert!((mean_square - 2.0).abs() < 1e-3, "{mean_square}");
    }

    #[test]
    fn what_was_copied_is_found_and_what_was_not_is_not() {
        let seed = Seed::new(5);
        let draw = |n, name| random_noise(n, 8, 1.0, &seed.named(name));
        let (training, held_out) = (draw(20, "training"), draw(400, "held out"));
        let mut found = draw(30, "attack");
        for i in 0..6 {
            found.row_mut(2 * i).assign(&(&training.row(i) * 1.01));
        }
        let shape = ImageShape::vector(8);
        let candidates = CandidateImages::new(found.view(), found.view(), shape).unwrap();
        let truth = TargetImages::new(training.view(), training.view(), shape).unwrap();
        let unseen = TargetImages::new(held_out.view(), held_out.view(), shape).unwrap();
        let noise = draw(30, "noise");
        let nulls = [
            NullModel::HeldOut(unseen),
            NullModel::RandomNoise(CandidateImages::new(noise.view(), noise.view(), shape).unwrap()),
        ];
        let rows = judge_rows(candidates, truth, &nulls).unwrap();
        let table = distance_table(&rows, &seed).unwrap();
        assert_eq!(table.row(RowKind::Training).unwrap().within, 6);
        assert_eq!(table.row(RowKind::RandomNoise).unwrap().within, 0);
        assert_eq!(rows[0].nearest[2], Neighbour { candidate: 4, distance: rows[0].nearest[2].distance });
        assert!(rows[0].nearest[2].distance < 0.05 && table.threshold > 0.1);
        let [low, high] = table.rows[0].interval;
        assert!(low >= 1.0 && high <= 12.0, "{low} {high}");
        let refusal = distance_table(&rows[..1], &seed).unwrap_err();
        assert_eq!(refusal, MetricsError::Rows { kind: "held_out", got: 0 });
    }

    #[test]
    #[should_panic(expected = "targets (1, 2), candidates (1, 3) and 2 deviations")]
    fn widths_must_agree() {
        let _ = scaled_distances(
            array![[0.0, 1.0]].view(),
            array![[0.0, 1.0, 2.0]].view(),
            array![1.0, 1.0].view(),
        );
    }
}
