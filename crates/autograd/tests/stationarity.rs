//! A gradient of a gradient against an oracle that knows neither tapes nor reverse mode.
//!
//! The objective is `|theta - grad_theta sum_i c_i Phi(x_i)|^2` for a three-layer network, and what is compared is
//! its gradient in x and c. The oracle perturbs one number at a time by nilpotent units e1, e2 (e1^2 = e2^2 = 0),
//! whose coefficients are exact first and mixed second derivatives.

use ndarray::{Array2, array};
use palimpsest_autograd::{Tape, Var, check};
use proptest::prelude::*;

/// The number `value + e1 + e2 + e12`.
#[derive(Clone, Copy, Debug, Default)]
struct Hyper {
    value: f64,
    e1: f64,
    e2: f64,
    e12: f64,
}

impl Hyper {
    fn plus(self, o: Self) -> Self {
        Self { value: self.value + o.value, e1: self.e1 + o.e1, e2: self.e2 + o.e2, e12: self.e12 + o.e12 }
    }

    fn times(self, o: Self) -> Self {
        Self {
            value: self.value * o.value,
            e1: self.value * o.e1 + self.e1 * o.value,
            e2: self.value * o.e2 + self.e2 * o.value,
            e12: self.value * o.e12 + self.e1 * o.e2 + self.e2 * o.e1 + self.e12 * o.value,
        }
    }

    /// Value of a ReLU, first derivative s = sigmoid(alpha z), second derivative alpha s (1 - s).
    fn relu_gated(self, alpha: f64) -> Self {
        let slope = 1.0 / (1.0 + (-alpha * self.value).exp());
        let curvature = alpha * slope * (1.0 - slope);
        Self {
            value: self.value.max(0.0),
            e1: slope * self.e1,
            e2: slope * self.e2,
            e12: slope * self.e12 + curvature * self.e1 * self.e2,
        }
    }
}

/// Inputs d, widths h and k; theta is W1 (h, d), b (h), W2 (k, h), w3 (k), one after the other.
#[derive(Clone, Copy, Debug)]
struct Net {
    d: usize,
    h: usize,
    k: usize,
    alpha: f64,
}

impl Net {
    fn shapes(self) -> [(usize, usize); 4] {
        [(self.h, self.d), (1, self.h), (self.k, self.h), (1, self.k)]
    }

    /// Phi(x), plainly.
    fn phi(self, theta: &[Hyper], x: &[Hyper]) -> Hyper {
        let (w1, rest) = theta.split_at(self.h * self.d);
        let (b, rest) = rest.split_at(self.h);
        let (w2, w3) = rest.split_at(self.k * self.h);
        let first: Vec<Hyper> = (0..self.h)
            .map(|j| {
                (0..self.d).fold(b[j], |z, i| z.plus(w1[j * self.d + i].times(x[i]))).relu_gated(self.alpha)
            })
            .collect();
        (0..self.k).fold(Hyper::default(), |y, l| {
            let z = (0..self.h).fold(Hyper::default(), |z, j| z.plus(w2[l * self.h + j].times(first[j])));
            y.plus(w3[l].times(z.relu_gated(self.alpha)))
        })
    }
}

/// Gradients of the objective in each x_i (n, d) and c_i (n), from 2-jets of Phi alone.
fn oracle(net: Net, theta: &[f64], x: &[Vec<f64>], c: &[f64]) -> (Vec<Vec<f64>>, Vec<f64>) {
    let plain = |v: &[f64]| v.iter().map(|&value| Hyper { value, ..Hyper::default() }).collect::<Vec<_>>();
    let slope = |x: &[f64], j: usize| {
        let mut t = plain(theta);
        t[j].e1 = 1.0;
        net.phi(&t, &plain(x)).e1
    };
    let residual: Vec<f64> = (0..theta.len())
        .map(|j| theta[j] - x.iter().zip(c).map(|(x, c)| c * slope(x, j)).sum::<f64>())
        .collect();
    // Along the residual r: d|r|^2 = -2 <r, d(sum_i c_i grad Phi(x_i))>.
    let along: Vec<Hyper> =
        theta.iter().zip(&residual).map(|(&value, &e1)| Hyper { value, e1, ..Hyper::default() }).collect();
    let dx = x.iter().zip(c).map(|(x, c)| {
        (0..net.d)
            .map(|i| {
                let mut x = plain(x);
                x[i].e2 = 1.0;
                -2.0 * c * net.phi(&along, &x).e12
            })
            .collect()
    });
    let dc = x.iter().map(|x| -2.0 * net.phi(&along, &plain(x)).e1);
    (dx.collect(), dc.collect())
}

/// The objective on the tape; `x` (n, d), `c` (n, 1), `theta` as in [`Net::shapes`].
fn objective<'t>(
    x: Var<'t, f64>,
    c: Var<'t, f64>,
    theta: &[Var<'t, f64>],
    activation: impl Fn(Var<'t, f64>) -> Var<'t, f64>,
) -> Var<'t, f64> {
    let z = x.matmul(theta[0].t());
    let first = activation(z + theta[1].broadcast_to(z.shape()));
    let second = activation(first.matmul(theta[2].t()));
    let sum = second.matmul(theta[3].t()).inner(c);
    let slopes = x.tape().grad(sum, theta);
    theta
        .iter()
        .zip(slopes)
        .map(|(&t, g)| (t - g).square_norm())
        .reduce(|a, b| a + b)
        .expect("theta has four parts")
}

fn rows(a: &Array2<f64>) -> Vec<Vec<f64>> {
    a.rows().into_iter().map(|r| r.to_vec()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_gated_objective_agrees_with_hyper_dual_numbers(
        (n, d, h, k) in (1usize..4, 1usize..4, 1usize..4, 1usize..4),
        alpha in 0.5..8.0_f64,
        values in prop::collection::vec(-1.0..1.0_f64, 64),
    ) {
        let net = Net { d, h, k, alpha };
        let mut values = values.into_iter();
        let mut draw =
            |shape: (usize, usize)| Array2::from_shape_simple_fn(shape, || values.next().expect("enough drawn"));
        let (x0, c0) = (draw((n, d)), draw((n, 1)));
        let theta0 = net.shapes().map(&mut draw);

        let tape = Tape::new();
        let (x, c) = (tape.var(x0.clone()), tape.var(c0.clone()));
        let theta = theta0.each_ref().map(|t| tape.var(t.clone()));
        let loss = objective(x, c, &theta, |z| z.relu_gated(alpha));
        let g = tape.grad(loss, &[x, c]);

        let flat: Vec<f64> = theta0.iter().flatten().copied().collect();
        let (dx, dc) = oracle(net, &flat, &rows(&x0), &c0.column(0).to_vec());
        let worst = |a: &Array2<f64>, b: Vec<f64>| a.iter().zip(b).fold(0.0_f64, |w, (a, b)| w.max((a - b).abs()));
        prop_assert!(worst(&g[0].value(), dx.concat()) < 1e-10);
        prop_assert!(worst(&g[1].value(), dc) < 1e-10);
    }

    #[test]
    fn the_smooth_objective_agrees_with_differences(
        values in prop::collection::vec(-1.0..1.0_f64, 120),
    ) {
        let net = Net { d: 3, h: 4, k: 2, alpha: 1.0 };
        let shapes = [&[(2, 3), (2, 1)][..], &net.shapes()[..]].concat();
        let mut values = values.into_iter();
        let mut draw = || -> Vec<Array2<f64>> {
            let one = |&s| Array2::from_shape_simple_fn(s, || values.next().expect("enough drawn"));
            shapes.iter().map(one).collect()
        };
        let (at, u, v) = (draw(), draw(), draw());
        let error = check::gradient(|x| objective(x[0], x[1], &x[2..], |z| z.softplus(2.0)), &at, &v, 1e-5);
        prop_assert!(error < 1e-6, "gradient of an objective made of gradients off by {error}");
        // Three derivatives deep.
        let error =
            check::gradient_of_gradient(|x| objective(x[0], x[1], &x[2..], |z| z.softplus(2.0)), &at, &u, &v, 1e-5);
        prop_assert!(error < 1e-6, "second derivative off by {error}");
    }
}

/// W = 0, x = 3, phi = relu(W x), r = W - c s x, with s = sigmoid(0) = 1/2 at W x = 0: all by hand.
#[test]
fn a_kink_worked_by_hand() {
    let tape = Tape::new();
    let (w, x, c) = (tape.var(array![[0.0]]), tape.var(array![[3.0]]), 2.0);
    let residual = w - tape.grad(w.matmul(x.t()).relu_gated(4.0), &[w])[0].scale(c);
    assert_eq!(residual.item(), -3.0);
    // d(s x)/dx = s + x alpha s (1 - s) W = 1/2, so d r^2/dx = 2 r (-c / 2) = 6.
    assert_eq!(tape.grad(residual.square_norm(), &[x])[0].item(), 6.0);
}
