//! How references behave under the measurements, and what that says of records.

use ndarray::{Array1, Array2, ArrayView2, Axis, concatenate};
use palimpsest_mlp::Mlp;
use palimpsest_numerics::factor::FactorError;
use palimpsest_numerics::gemm::Parallelism;

use super::gradient::{Outputs, first_layer_deltas, pairing};
use super::population::{Population, left_out, row_products};
use super::relative::{Measurement, Relative, Sample, Scores};
use super::span::{LogShares, Part, RowSpace, SpanTest, squares};
use super::tail::Tail;

/// Records that are measured together.
const BATCH: usize = 1024;

/// Shrinkages of the metrics in which a record's roughness is measured.
const ROUGHNESS: [f64; 4] = [0.3, 1.0, 3.0, 10.0];

/// What is looked into.
#[derive(Clone, Copy, Debug)]
pub enum Weights<'a> {
    /// A whole network of dense layers with ReLU between; records are what its first layer sees.
    Network(&'a Mlp<f32>, Outputs),
    /// One layer (h, d) of a network that is not known; records are what that layer sees.
    Layer(ArrayView2<'a, f32>),
}

/// What is measured of a set of records, compared with the references.
pub struct Measured {
    /// Plain share outside the span, (m).
    pub plain: Array1<f64>,
    /// Score of the span, (m).
    pub span: Array1<f64>,
    /// Score of the pairing with the gradient, (m).
    pub gradient: Option<Array1<f64>>,
    /// Loss by the network's own class, (m).
    pub own_loss: Option<Array1<f64>>,
    /// Distance from a decision, (m).
    pub margin: Option<Array1<f64>>,
    /// Deviations by which size and roughness differ from those of the references, (m).
    pub strangeness: Array1<f64>,
    /// Logarithm of the p-value of all evidence, (m).
    pub log_p: Array1<f64>,
}

/// How references behave, and what they say of others.
pub struct Null<'w, 'a> {
    instruments: Instruments<'w, 'a>,
    span: Relative,
    gradient: Option<Relative>,
    typical: Vec<Typical>,
    /// Of minus the logarithm of the product of both p-values.
    product_tail: Option<Tail>,
    all_tail: Tail,
}

/// What measures.
struct Instruments<'w, 'a> {
    weights: Weights<'w>,
    space: &'a RowSpace,
    span: SpanTest<'a>,
    roughness: Vec<Population>,
    parallelism: Parallelism,
}

/// What is measured before it is compared.
struct Raw {
    plain: Array1<f64>,
    shares: LogShares,
    /// Logarithms of squared lengths, plain and in each metric, (m, 1 + metrics).
    covariates: Array2<f64>,
    pairing: Option<Array1<f64>>,
    own_loss: Option<Array1<f64>>,
    margin: Option<Array1<f64>>,
}

/// Mean and deviation of a covariate.
struct Typical {
    mean: f64,
    deviation: f64,
}

impl<'w, 'a> Null<'w, 'a> {
    /// Measures a sample (n, d), more than `ROUGHNESS` has numbers plus four, each as if it were not among them.
    ///
    /// # Errors
    /// [`FactorError`] when they are all the same.
    pub fn of(
        weights: Weights<'w>,
        space: &'a RowSpace,
        (sample, references): (Sample, ArrayView2<'_, f32>),
        parallelism: Parallelism,
    ) -> Result<(Self, Measured), FactorError> {
        let wide = references.mapv(f64::from);
        let span = SpanTest::new(space, wide.view(), parallelism)?;
        let metrics = ROUGHNESS.iter().map(|&shrinkage| Population::of(wide.view(), shrinkage, parallelism));
        let roughness = metrics.collect::<Result<Vec<_>, _>>()?;
        let instruments = Instruments { weights, space, span, roughness, parallelism };
        let raw = instruments.measure(references, Part::References);
        let covariates = raw.covariates.view();
        let (span, span_scores) = Relative::of(sample, of_span(&inside(&raw.shares)), covariates)?;
        let relative = |pairing| Relative::of(sample, of_gradient(pairing), covariates);
        let (gradient, gradient_scores) = raw.pairing.as_ref().map(relative).transpose()?.unzip();
        let product_tail = gradient_scores.as_ref().map(|scores| tail(&product(&span_scores, scores)));
        let all_tail = tail(&evidence(&span_scores, gradient_scores.as_ref().zip(product_tail.as_ref())));
        let typical = raw.covariates.columns().into_iter().map(|c| Typical::of(&c.to_vec())).collect();
        let null = Self { instruments, span, gradient, typical, product_tail, all_tail };
        let measured = null.compared(raw, span_scores, gradient_scores);
        Ok((null, measured))
    }

    /// Measures `records` (m, d), which are not among the references.
    pub fn measure(&self, records: ArrayView2<'_, f32>) -> Measured {
        let raw = self.instruments.measure(records, Part::Others);
        let covariates = raw.covariates.view();
        let span = self.span.apply(of_span(&inside(&raw.shares)), covariates);
        let gradient = self
            .gradient
            .as_ref()
            .zip(raw.pairing.as_ref())
            .map(|(relative, pairing)| relative.apply(of_gradient(pairing), covariates));
        self.compared(raw, span, gradient)
    }

    fn compared(&self, raw: Raw, span: Scores, gradient: Option<Scores>) -> Measured {
        let evidence = evidence(&span, gradient.as_ref().zip(self.product_tail.as_ref()));
        let strangeness = raw
            .covariates
            .rows()
            .into_iter()
            .map(|row| row.iter().zip(&self.typical).map(|(&v, t)| t.distance(v)).fold(0.0, f64::max))
            .collect();
        Measured {
            plain: raw.plain,
            log_p: self.all_tail.log_ps(&evidence),
            span: span.deviations,
            gradient: gradient.map(|scores| scores.deviations),
            own_loss: raw.own_loss,
            margin: raw.margin,
            strangeness,
        }
    }
}

impl Instruments<'_, '_> {
    /// Measures all records, some at a time.
    fn measure(&self, records: ArrayView2<'_, f32>, part: Part) -> Raw {
        let parts: Vec<Raw> =
            records.axis_chunks_iter(Axis(0), BATCH).map(|batch| self.measure_batch(batch, part)).collect();
        let join = |of: &dyn Fn(&Raw) -> Array1<f64>| -> Array1<f64> { parts.iter().flat_map(of).collect() };
        let join_some = |of: &dyn Fn(&Raw) -> Option<Array1<f64>>| -> Option<Array1<f64>> {
            let found: Option<Vec<_>> = parts.iter().map(of).collect();
            found.map(|found| found.into_iter().flatten().collect())
        };
        let covariates: Vec<_> = parts.iter().map(|raw| raw.covariates.view()).collect();
        Raw {
            plain: join(&|raw| raw.plain.clone()),
            shares: LogShares {
                all: join(&|raw| raw.shares.all.clone()),
                strong: join(&|raw| raw.shares.strong.clone()),
            },
            covariates: concatenate(Axis(0), &covariates).expect("batches have the same columns"),
            pairing: join_some(&|raw| raw.pairing.clone()),
            own_loss: join_some(&|raw| raw.own_loss.clone()),
            margin: join_some(&|raw| raw.margin.clone()),
        }
    }

    fn measure_batch(&self, records: ArrayView2<'_, f32>, part: Part) -> Raw {
        let wide = records.mapv(f64::from);
        let mut columns = vec![squares(wide.view()).mapv(f64::ln)];
        for population in &self.roughness {
            let total = row_products(population.inverse_times(wide.view()).view(), wide.view());
            let total = match part {
                Part::Others => total,
                Part::References => total.mapv(|total| left_out(total, population.size())),
            };
            columns.push(total.mapv(|total| total.max(f64::MIN_POSITIVE).ln()));
        }
        let columns: Vec<_> = columns.iter().map(|column| column.view().insert_axis(Axis(1))).collect();
        let covariates = concatenate(Axis(1), &columns).expect("each has an entry a record");
        let said = match self.weights {
            Weights::Network(network, outputs) => {
                Some((outputs, first_layer_deltas(network, outputs, records, self.parallelism)))
            }
            Weights::Layer(_) => None,
        };
        let paired = said.as_ref().map(|(outputs, said)| {
            pairing(self.space, *outputs, said.left.view(), wide.view(), self.parallelism)
        });
        let (own_loss, margin) = said.map(|(_, said)| (said.own_loss, said.margin)).unzip();
        Raw {
            plain: self.span.plain_shares(wide.view()),
            shares: self.span.measure(wide.view(), part),
            covariates,
            pairing: paired,
            own_loss,
            margin,
        }
    }
}

impl Typical {
    fn of(values: &[f64]) -> Self {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
        Self { mean, deviation: variance.sqrt().max(1e-6) }
    }

    fn distance(&self, value: f64) -> f64 {
        (value - self.mean).abs() / self.deviation
    }
}

/// Less outside than usual speaks for a member: shares with the other sign.
fn inside(shares: &LogShares) -> LogShares {
    LogShares { all: -&shares.all, strong: -&shares.strong }
}

fn of_span(shares: &LogShares) -> Measurement<'_> {
    Measurement { all: shares.all.view(), strong: Some(shares.strong.view()) }
}

fn of_gradient(pairing: &Array1<f64>) -> Measurement<'_> {
    Measurement { all: pairing.view(), strong: None }
}

fn tail(scores: &Array1<f64>) -> Tail {
    Tail::of(scores.as_slice().expect("scores are contiguous"))
}

/// Minus the logarithm of the product of p-values.
///
/// # Source
/// Fisher (1932); its law is estimated from the references, so the tests need not be independent.
fn product(span: &Scores, gradient: &Scores) -> Array1<f64> {
    -(&span.log_p + &gradient.log_p)
}

/// Minus the logarithm of the smallest of the p-values: by the span, by the gradient, and by both together. Of some members one of the two
/// says nothing, which their product pays for.
///
/// # Source
/// Tippett (1931); its law is estimated from the references, too.
fn evidence(span: &Scores, gradient: Option<(&Scores, &Tail)>) -> Array1<f64> {
    let Some((gradient, tail)) = gradient else { return -&span.log_p };
    let both = tail.log_ps(&product(span, gradient));
    let each = span.log_p.iter().zip(&gradient.log_p).zip(&both);
    each.map(|((&span, &own), &both)| -span.min(own).min(both)).collect()
}
