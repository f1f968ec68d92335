//! The best list so far, told while an attack is under way: a line and a few pictures in the terminal, and the report as it would be now.

use std::collections::BTreeMap;
use std::sync::{Mutex, OnceLock, PoisonError};

use anyhow::Result;
use ndarray::{Array1, Array2, ArrayView2, Axis, concatenate, s};
use palimpsest_attack::evidence::consensus::{Comparison, consensus, ranking};
use palimpsest_attack::{AttackProblem, Label, Method, Restart};
use palimpsest_numerics::display::min_max;
use palimpsest_numerics::gemm::Parallelism;
use palimpsest_report::{
    Answer, CandidateView, ConfidenceKind, InputKind, Picture, PictureShape, ReportData,
};

use super::task::Task;
use crate::attacking::pages::{SHOWN, columns, picture, values, write};
use crate::terminal::blocks::{Pixels, half_blocks};
use crate::terminal::output;

/// Most restarts that are compared, the last ones: a look must cost little beside a restart.
const COMPARED: usize = 4;
/// Agreement above which a candidate counts as found so far: the bar of the report.
const AGREEING: f32 = 0.8;
/// Pictures in the terminal.
const PICTURES: usize = 5;

/// Tells the best list so far of a `task`.
pub(super) struct SoFar<'a> {
    task: &'a Task,
    problem: OnceLock<Option<AttackProblem>>,
    told: Mutex<Told>,
}

#[derive(Default)]
struct Told {
    restarts: BTreeMap<u64, Array2<f32>>,
    /// Seconds, and how many inputs restarts agreed on then.
    counts: Vec<(f64, usize)>,
}

impl<'a> SoFar<'a> {
    pub(super) fn of(task: &'a Task) -> Self {
        Self { task, problem: OnceLock::new(), told: Mutex::default() }
    }

    /// A restart has come to its end after so many seconds of the attack.
    pub(super) fn see(&self, number: u64, restart: &Restart, elapsed_s: f64) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.restarts.insert(number, restart.coordinates.clone());
        // What cannot be shown now is shown at the end.
        if let Ok(Some(agreed)) = self.tell(&told.restarts, elapsed_s) {
            told.counts.push((elapsed_s, agreed));
        }
    }

    /// Says after which time nine tenths of what restarts agree on at the end had been found.
    pub(super) fn end(self) {
        let counts = self.told.into_inner().unwrap_or_else(PoisonError::into_inner).counts;
        let Some(&(_, last)) = counts.last().filter(|(_, last)| *last > 0) else { return };
        if let Some((seconds, _)) = counts.iter().find(|(_, count)| 10 * count >= 9 * last) {
            output::note(&format!(
                "of the {last} inputs on which restarts agree, 90 % were found after {seconds:.1} s"
            ));
        }
    }

    fn tell(&self, restarts: &BTreeMap<u64, Array2<f32>>, elapsed_s: f64) -> Result<Option<usize>> {
        let last: Vec<_> = restarts.values().rev().take(COMPARED).map(|restart| restart.view()).collect();
        let Some(best) = Best::of(&last)? else { return Ok(None) };
        let Some(problem) = self.problem.get_or_init(|| self.prepared(best.rows.ncols())) else {
            return Ok(None);
        };
        let inputs = problem.lift(best.rows.view(), Parallelism::Sequential);
        let agreed = best.agreement.iter().filter(|&&agreement| agreement > AGREEING).count();
        let (done, of) = (restarts.len(), self.task.params.restarts);
        let most = if self.task.params.saturation.is_some() { "at most " } else { "" };
        let line = match last.len() {
            1 => format!("{done} of {most}{of} restarts after {elapsed_s:.1} s: the first pictures"),
            _ => format!(
                "{done} of {most}{of} restarts after {elapsed_s:.1} s: they agree on {agreed} inputs so far"
            ),
        };
        output::note(&line);
        output::event(
            "so_far",
            &serde_json::json!({ "restarts": done, "of": of, "elapsed_s": elapsed_s, "agreed": agreed }),
        );
        let pictures = self.pictures(inputs.view())?;
        show(&pictures);
        self.page(&line, &best, inputs.view(), pictures)?;
        Ok((last.len() > 1).then_some(agreed))
    }

    fn prepared(&self, columns: usize) -> Option<AttackProblem> {
        let Task { network, params, .. } = self.task;
        // The published method works on inputs themselves, and they are not lifted.
        let is_in_subspace = !matches!(params.method, Method::Gradient(_));
        let prepared =
            || AttackProblem::prepare(network, params.prior, Some(columns), Parallelism::Sequential).ok();
        is_in_subspace.then(prepared).flatten()
    }

    fn pictures(&self, inputs: ArrayView2<'_, f32>) -> Result<Vec<Picture>> {
        let Some([channels, height, width]) = self.task.params.prior.image_shape else {
            return Ok(Vec::new());
        };
        let shape = PictureShape { channels, height, width };
        min_max(inputs).rows().into_iter().map(|row| picture(row, shape)).collect()
    }

    /// The report as it would be now; the one at the end takes its place.
    fn page(
        &self,
        line: &str,
        best: &Best,
        inputs: ArrayView2<'_, f32>,
        pictures: Vec<Picture>,
    ) -> Result<()> {
        let name = self.task.model.file_name().unwrap_or_default().to_string_lossy();
        let is_image = self.task.params.prior.image_shape.is_some();
        let answer = Answer::Unjudged {
            sure: best.agreement.iter().filter(|&&agreement| agreement > AGREEING).count(),
            candidates: best.agreement.len(),
            confidence: ConfidenceKind::Agreement,
            bar: f64::from(AGREEING),
            expected_precision: None,
            null: "no null, as the attack is under way".into(),
            null_count: None,
            inputs: if is_image { InputKind::Image } else { InputKind::Row },
        };
        let mut report = ReportData::new("What these weights may remember: so far", name, answer);
        report.warnings.push(format!(
            "The attack is under way. {line}. Agreement is no probability; this page is replaced when the attack has ended."
        ));
        let mut pictures = pictures.into_iter();
        for (rank, (row, &agreement)) in inputs.rows().into_iter().zip(&best.agreement).enumerate() {
            report.candidates.push(CandidateView {
                candidate: rank,
                picture: pictures.next(),
                values: (!is_image).then(|| values(row)),
                rank: Some(rank + 1),
                confidence: Some(f64::from(agreement)),
                answer: None,
                truth: None,
            });
        }
        if !is_image {
            report.columns = columns(&[], inputs.ncols());
        }
        write(&self.task.out, &report, &[])
    }
}

/// The distinct candidates on which restarts agree most.
struct Best {
    /// In the coordinates of the attack, (k, r), k at most [`SHOWN`].
    rows: Array2<f32>,
    agreement: Vec<f32>,
}

impl Best {
    /// Of `restarts`, the newest first; of one alone, its first candidates.
    fn of(restarts: &[ArrayView2<'_, f32>]) -> Result<Option<Self>> {
        let Some(m) = restarts.first().map(|restart| restart.nrows()) else { return Ok(None) };
        if restarts.iter().any(|restart| restart.nrows() != m || restart.iter().any(|v| !v.is_finite())) {
            return Ok(None);
        }
        if restarts.len() == 1 {
            let rows = restarts[0].slice(s![..m.min(SHOWN), ..]).to_owned();
            return Ok(Some(Self { agreement: vec![0.0; rows.nrows()], rows }));
        }
        let stacked = concatenate(Axis(0), restarts)?;
        let compared = Comparison::of(stacked.view(), m, Parallelism::Sequential)?
            .apply(stacked.view(), Parallelism::Sequential);
        let views: Vec<_> = compared.axis_chunks_iter(Axis(0), m).collect();
        let told = vec![Array1::zeros(m); views.len()];
        let scores = consensus(&views, &vec![Label(0); m], &told).scores;
        let agreement: Array1<f32> = scores.iter().flatten().copied().collect();
        let mut ranked = ranking(compared.view(), &vec![Label(0); agreement.len()], agreement.view());
        ranked.truncate(SHOWN);
        Ok(Some(Self {
            rows: stacked.select(Axis(0), &ranked),
            agreement: ranked.iter().map(|&i| agreement[i]).collect(),
        }))
    }
}

/// Shows the first pictures to a person.
fn show(pictures: &[Picture]) {
    let pixels: Vec<Pixels> = pictures
        .iter()
        .take(PICTURES)
        .map(|picture| {
            let PictureShape { channels, height, width } = picture.shape();
            Pixels { width, height, channels, bytes: picture.bytes().to_vec() }
        })
        .collect();
    output::picture(|columns| half_blocks(&pixels, columns));
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn what_restarts_agree_on_comes_first() {
        let one = array![[1.0_f32, 0.0, 0.0], [0.0, 1.0, 0.0]];
        let other = array![[0.0_f32, 0.0, 1.0], [0.0, 1.0, 0.01]];
        assert_eq!(Best::of(&[]).unwrap().map(|best| best.agreement), None);
        assert_eq!(Best::of(&[one.view()]).unwrap().unwrap().rows, one);
        let best = Best::of(&[one.view(), other.view()]).unwrap().unwrap();
        assert!(best.rows[[0, 1]] == 1.0 && best.agreement[0] > 0.9, "{:?}", best.agreement);
        assert!(best.rows.nrows() == 3 && best.agreement[1] < 0.1, "{:?}", best.agreement);
        let broken = array![[f32::NAN, 0.0, 0.0], [0.0, 1.0, 0.0]];
        assert!(Best::of(&[broken.view(), one.view()]).unwrap().is_none());
    }
}
