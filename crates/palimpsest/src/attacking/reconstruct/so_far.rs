//! The best list so far, told while an attack is under way: a line and a few pictures in the terminal, and the report as it would be now.

use std::collections::BTreeMap;
use std::sync::{Mutex, OnceLock, PoisonError};

use anyhow::Result;
use ndarray::{Array1, Array2, ArrayView2, Axis, concatenate, s};
use palimpsest_attack::evidence::consensus::{Comparison, consensus, ranking};
use palimpsest_attack::{AttackProblem, Label, Method, Restart, SeparatedImages};
use palimpsest_numerics::display::min_max;
use palimpsest_numerics::gemm::Parallelism;
use palimpsest_report::{
    Answer, CandidateView, ConfidenceKind, InputKind, Picture, PictureShape, ReportData,
};
use palimpsest_unmix::raw::RawImages;

use super::task::Task;
use crate::attacking::pages::{PAGE, SHOWN, columns, picture, values, write};
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
    /// What separation knew of raw images, in which form pictures are then shown.
    raw: Option<RawImages>,
    /// Whether there were pictures already.
    has_shown: bool,
    restarts: BTreeMap<u64, Array2<f32>>,
    /// Seconds, and how many inputs restarts agreed on then.
    counts: Vec<(f64, usize)>,
}

impl<'a> SoFar<'a> {
    pub(super) fn of(task: &'a Task) -> Self {
        Self { task, problem: OnceLock::new(), told: Mutex::default() }
    }

    /// A separation has ended, before any restart; `elapsed_s` are the seconds of the attack by now.
    pub(super) fn separated(&self, images: &SeparatedImages<'_>, elapsed_s: impl FnOnce() -> f64) {
        in_turn(&self.told, elapsed_s, |told, elapsed_s| {
            told.raw = images.raw.cloned();
            let count = images.coordinates.nrows();
            let line = format!("{count} images separated from the weights after {elapsed_s:.1} s");
            output::event("separated", &serde_json::json!({ "images": count, "elapsed_s": elapsed_s }));
            // As with restarts.
            let _ = self.show(told, &line, &Best::first_of(images.coordinates));
        });
    }

    /// A restart has come to its end; `elapsed_s` are the seconds of the attack by now.
    pub(super) fn see(&self, number: u64, restart: &Restart, elapsed_s: impl FnOnce() -> f64) {
        in_turn(&self.told, elapsed_s, |told, elapsed_s| {
            told.restarts.insert(number, restart.coordinates.clone());
            // What cannot be shown now is shown at the end.
            if let Ok(Some(agreed)) = self.tell(told, elapsed_s) {
                told.counts.push((elapsed_s, agreed));
            }
        });
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

    fn tell(&self, told: &mut Told, elapsed_s: f64) -> Result<Option<usize>> {
        let last: Vec<_> =
            told.restarts.values().rev().take(COMPARED).map(|restart| restart.view()).collect();
        let compared = last.len();
        let Some(best) = Best::of(&last)? else { return Ok(None) };
        let agreed = best.agreement.iter().filter(|&&agreement| agreement > AGREEING).count();
        let (done, of) = (told.restarts.len(), self.task.params.restarts);
        let most = if self.task.params.saturation.is_some() { "at most " } else { "" };
        let mut line = format!("{done} of {most}{of} restarts after {elapsed_s:.1} s");
        if compared > 1 {
            line.push_str(&format!(": they agree on {agreed} inputs so far"));
        }
        output::event(
            "so_far",
            &serde_json::json!({ "restarts": done, "of": of, "elapsed_s": elapsed_s, "agreed": agreed }),
        );
        self.show(told, &line, &best)?;
        Ok((compared > 1).then_some(agreed))
    }

    /// Says the `line`, and shows the pictures of the `best` in the terminal and on the page.
    fn show(&self, told: &mut Told, line: &str, best: &Best) -> Result<()> {
        let Some(inputs) = self.inputs(best, told.raw.as_ref()) else { return Ok(()) };
        let pictures = self.pictures(inputs.view())?;
        self.page(line, best, inputs.view(), &pictures)?;
        if std::mem::replace(&mut told.has_shown, true) {
            output::note(line);
        } else {
            let page = output::absolute(&self.task.out.join(PAGE));
            output::note(&format!("{line}: the first of them, and {}", page.display()));
        }
        show(&pictures);
        Ok(())
    }

    /// The inputs (k, d) of the `best`, raw images where these are known; nothing where candidates are inputs already.
    fn inputs(&self, best: &Best, raw: Option<&RawImages>) -> Option<Array2<f32>> {
        if let Some(raw) = raw {
            return Some(raw.images(best.rows.view(), Parallelism::Sequential));
        }
        let problem = self.problem.get_or_init(|| self.prepared(best.rows.ncols())).as_ref()?;
        Some(problem.lift(best.rows.view(), Parallelism::Sequential))
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
    fn page(&self, line: &str, best: &Best, inputs: ArrayView2<'_, f32>, pictures: &[Picture]) -> Result<()> {
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
        let mut pictures = pictures.iter().cloned();
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

/// Does what is to be done with `told` when its turn has come, and only then looks at the clock: restarts end on several threads, and
/// what is told later must not be told with an earlier time.
fn in_turn<T>(told: &Mutex<T>, elapsed_s: impl FnOnce() -> f64, then: impl FnOnce(&mut T, f64)) {
    let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
    then(&mut told, elapsed_s());
}

/// The distinct candidates on which restarts agree most.
struct Best {
    /// In the coordinates of the attack, (k, r), k at most [`SHOWN`].
    rows: Array2<f32>,
    agreement: Vec<f32>,
}

impl Best {
    /// The first of `rows`, on which nothing has agreed yet.
    fn first_of(rows: ArrayView2<'_, f32>) -> Self {
        let rows = rows.slice(s![..rows.nrows().min(SHOWN), ..]).to_owned();
        Self { agreement: vec![0.0; rows.nrows()], rows }
    }

    /// Of `restarts`, the newest first; of one alone, its first candidates.
    fn of(restarts: &[ArrayView2<'_, f32>]) -> Result<Option<Self>> {
        let Some(m) = restarts.first().map(|restart| restart.nrows()) else { return Ok(None) };
        if restarts.iter().any(|restart| restart.nrows() != m || restart.iter().any(|v| !v.is_finite())) {
            return Ok(None);
        }
        if restarts.len() == 1 {
            return Ok(Some(Self::first_of(restarts[0])));
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
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use ndarray::array;

    use super::*;

    #[test]
    fn what_is_told_later_has_a_later_time() {
        let (told, ticks) = (Mutex::new(Vec::new()), AtomicU32::new(0));
        let clock = || f64::from(ticks.fetch_add(1, Ordering::SeqCst));
        std::thread::scope(|scope| {
            let held = told.lock().unwrap();
            scope.spawn(|| in_turn(&told, clock, |told, at| told.push(at)));
            std::thread::sleep(Duration::from_millis(50));
            assert_eq!(ticks.load(Ordering::SeqCst), 0, "a restart that waits does not look at the clock");
            drop(held);
        });
        in_turn(&told, clock, |told, at| told.push(at));
        assert_eq!(told.into_inner().unwrap(), [0.0, 1.0]);
    }

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
