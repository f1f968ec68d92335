//! Differentiation: one rule for each operation, written in the tape's own operations.
//!
//! A rule takes the cotangent `g` of an operation's output, which has the output's shape, to its share in the
//! cotangent of an input. Since the rules only use [`Var`] operations, their results differentiate again.

use palimpsest_numerics::Real;

use crate::{
    Tape, Var,
    op::{Binary, Op, Unary},
};

impl<T: Real> Tape<T> {
    /// Gradient of a number `y` (1, 1) with respect to each of `wrt`, each in the shape of its variable.
    ///
    /// The results are variables and can be differentiated again. A variable that `y` does not depend on gets
    /// zeros. A variable computed from another one of `wrt` is treated as in any chain rule: both get their
    /// full derivative.
    ///
    /// # Panics
    /// When `y` is not (1, 1), or a variable lives on another tape.
    ///
    /// ```
    /// use palimpsest_autograd::Tape;
    /// let tape = Tape::new();
    /// let x = tape.scalar(2.0);
    /// let slope = tape.grad(x.log(), &[x])[0];
    /// let curvature = tape.grad(slope, &[x])[0];
    /// assert_eq!((slope.item(), curvature.item()), (0.5, -0.25));
    /// ```
    #[track_caller]
    pub fn grad<'t>(&'t self, y: Var<'t, T>, wrt: &[Var<'t, T>]) -> Vec<Var<'t, T>> {
        assert_eq!(y.shape(), (1, 1), "grad: y is {:?}, needed (1, 1); for an array use vjp", y.shape());
        self.vjp(y, self.scalar(T::one()), wrt)
    }

    /// `J' w` for each of `wrt`: the gradient of `<y, w>` with `w` held fixed, in the shape of the variable.
    ///
    /// # Panics
    /// When `w` has not the shape of `y`, or a variable lives on another tape.
    #[track_caller]
    pub fn vjp<'t>(&'t self, y: Var<'t, T>, w: Var<'t, T>, wrt: &[Var<'t, T>]) -> Vec<Var<'t, T>> {
        assert_eq!(y.shape(), w.shape(), "vjp: y is {:?}, w is {:?} (rows, cols)", y.shape(), w.shape());
        assert!(
            [y, w].iter().chain(wrt).all(|v| std::ptr::eq(self, v.tape)),
            "vjp: a variable lives on another tape"
        );
        let needed = self.dependents(wrt, y.index);
        let mut cotangents: Vec<Option<Var<'t, T>>> = vec![None; y.index + 1];
        cotangents[y.index] = Some(w);
        for index in (0..=y.index).rev() {
            let (true, Some(g)) = (needed[index], cotangents[index]) else { continue };
            let at = |index| Var { tape: self, index };
            let mut add = |input: usize, share: Var<'t, T>| {
                cotangents[input] = Some(cotangents[input].map_or(share, |sum| sum + share));
            };
            match self.op(index) {
                Op::Unary(op, x) if needed[x] => {
                    if let Some(share) = unary(op, at(x), at(index), g) {
                        add(x, share);
                    }
                }
                Op::Binary(op, a, b) => {
                    if needed[a] {
                        add(a, left(op, at(b), g));
                    }
                    if needed[b] {
                        add(b, right(op, at(a), g));
                    }
                }
                Op::Leaf | Op::Unary(..) => {}
            }
        }
        wrt.iter()
            .map(|x| cotangents.get(x.index).copied().flatten().unwrap_or_else(|| self.zeros(x.shape())))
            .collect()
    }

    /// `J v`: the derivative of `y` when each of `wrt` moves along its tangent in `v`, in the shape of `y`.
    ///
    /// Two reverse passes: `J' w` is linear in `w`, and differentiating `<J' w, v>` by `w` transposes it back.
    ///
    /// # Panics
    /// When `v` has not the shapes of `wrt`, or a variable lives on another tape.
    ///
    /// ```
    /// use ndarray::array;
    /// use palimpsest_autograd::Tape;
    /// let tape = Tape::new();
    /// let x = tape.var(array![[1.0, 2.0]]);
    /// let v = tape.var(array![[1.0, -1.0]]);
    /// assert_eq!(tape.jvp(x * x, &[x], &[v]).value(), array![[2.0, -4.0]]);
    /// ```
    #[track_caller]
    pub fn jvp<'t>(&'t self, y: Var<'t, T>, wrt: &[Var<'t, T>], v: &[Var<'t, T>]) -> Var<'t, T> {
        let w = self.zeros(y.shape());
        let pulled = self.vjp(y, w, wrt);
        self.grad(self.inner(&pulled, v), &[w])[0]
    }

    /// Inner product of two lists of arrays, (1, 1).
    #[track_caller]
    pub(crate) fn inner<'t>(&'t self, a: &[Var<'t, T>], b: &[Var<'t, T>]) -> Var<'t, T> {
        assert_eq!(a.len(), b.len(), "inner product of {} variables with {}", a.len(), b.len());
        let mut total = self.scalar(T::zero());
        for (&a, &b) in a.iter().zip(b) {
            total = total + a.inner(b);
        }
        total
    }

    fn zeros(&self, shape: (usize, usize)) -> Var<'_, T> {
        self.scalar(T::zero()).broadcast_to(shape)
    }

    /// For each index up to `last`: whether it is one of `wrt` or computed from one.
    fn dependents(&self, wrt: &[Var<'_, T>], last: usize) -> Vec<bool> {
        let mut needed = vec![false; last + 1];
        for x in wrt.iter().filter(|x| x.index <= last) {
            needed[x.index] = true;
        }
        for index in 0..=last {
            needed[index] |= match self.op(index) {
                Op::Leaf => false,
                Op::Unary(_, x) => needed[x],
                Op::Binary(_, a, b) => needed[a] || needed[b],
            };
        }
        needed
    }
}

/// The share of x in y = op(x); `None` is zero.
fn unary<'t, T: Real>(op: Unary<T>, x: Var<'t, T>, y: Var<'t, T>, g: Var<'t, T>) -> Option<Var<'t, T>> {
    Some(match op {
        Unary::Transpose => g.t(),
        Unary::Scale(c) => g.scale(c),
        Unary::SumTo(_) => g.broadcast_to(x.shape()),
        Unary::BroadcastTo(_) => g.sum_to(x.shape()),
        Unary::SquareNorm => g.broadcast_to(x.shape()) * x.scale(T::of(2.0)),
        // The softmax, from the output so that it stays below one.
        Unary::LogSumExpRows => g.broadcast_to(x.shape()) * (x - y.broadcast_to(x.shape())).exp(),
        Unary::Step => return None,
        Unary::Relu => g * x.step(),
        Unary::ReluGated { alpha } => g * x.scale(alpha).sigmoid(),
        // s (1 - s), with 1 - s = sigmoid(-x) free of cancellation.
        Unary::Sigmoid => g * (y * (-x).sigmoid()),
        Unary::Softplus { beta } => g * x.scale(beta).sigmoid(),
        Unary::Exp => g * y,
        Unary::Log => g * x.reciprocal(),
        Unary::Sqrt => g * y.reciprocal().scale(T::of(0.5)),
        Unary::Reciprocal => -(g * (y * y)),
    })
}

/// The share of a in op(a, b).
fn left<'t, T: Real>(op: Binary, b: Var<'t, T>, g: Var<'t, T>) -> Var<'t, T> {
    match op {
        Binary::Add | Binary::Sub => g,
        Binary::Mul => g * b,
        Binary::Matmul => g.matmul(b.t()),
    }
}

/// The share of b in op(a, b).
fn right<'t, T: Real>(op: Binary, a: Var<'t, T>, g: Var<'t, T>) -> Var<'t, T> {
    match op {
        Binary::Add => g,
        Binary::Sub => -g,
        Binary::Mul => g * a,
        Binary::Matmul => a.t().matmul(g),
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};
    use proptest::prelude::*;

    use super::*;
    use crate::check;

    const STEP: f64 = 1e-5;
    const CLOSE: f64 = 1e-6;
    const EXACT: f64 = 1e-10;

    type One = for<'t> fn(Var<'t, f64>) -> Var<'t, f64>;
    type Two = for<'t> fn(Var<'t, f64>, Var<'t, f64>) -> Var<'t, f64>;

    // Every operation whose derivative is that of its value. x stays away from zero, so x * x is positive.
    const ONE: [(&str, One); 17] = [
        ("neg", |x| -x),
        ("scale", |x| x.scale(1.7)),
        ("t", |x| x.t()),
        ("sum", |x| x.sum()),
        ("sum_rows", |x| x.sum_rows()),
        ("sum_cols", |x| x.sum_cols()),
        ("broadcast a number", |x| x.sum().broadcast_to(x.shape())),
        ("broadcast a column", |x| x.sum_rows().broadcast_to(x.shape()) * x),
        ("broadcast a row", |x| x.sum_cols().broadcast_to(x.shape()) * x),
        ("square_norm", |x| x.square_norm()),
        ("log_sum_exp_rows", |x| x.log_sum_exp_rows()),
        ("step", |x| x.step() * x),
        ("relu", |x| x.relu() * x),
        ("sigmoid", |x| x.sigmoid()),
        ("softplus", |x| x.softplus(2.5)),
        ("exp", |x| x.exp()),
        ("log, sqrt, reciprocal", |x| (x * x).log() + (x * x).sqrt() + (x * x).reciprocal()),
    ];

    // Of a, b in the same shape.
    const TWO: [(&str, Two); 6] = [
        ("add", |a, b| a + b),
        ("sub", |a, b| a - b),
        ("mul", |a, b| a * b),
        ("matmul", |a, b| a.matmul(b.t())),
        ("matmul of transposes", |a, b| a.t().matmul(b)),
        ("the same input twice", |a, b| (a * b).matmul(a.t()) + a.matmul(a.t())),
    ];

    /// Arrays cut from numbers drawn by proptest, none nearer to zero than 0.2.
    #[derive(Clone, Debug)]
    struct Draws(Vec<f64>);

    impl Draws {
        fn array(&mut self, (rows, cols): (usize, usize)) -> Array2<f64> {
            let rest = self.0.split_off(rows * cols);
            let taken = std::mem::replace(&mut self.0, rest);
            Array2::from_shape_vec((rows, cols), taken).unwrap()
        }

        fn arrays(&mut self, shapes: &[(usize, usize)]) -> Vec<Array2<f64>> {
            shapes.iter().map(|&s| self.array(s)).collect()
        }
    }

    fn draws() -> impl Strategy<Value = Draws> {
        prop::collection::vec((0.2..1.5_f64, any::<bool>()), 200)
            .prop_map(|v| Draws(v.into_iter().map(|(v, minus)| if minus { -v } else { v }).collect()))
    }

    /// Two outputs over a hidden layer, x (n, d), W (h, d), b (1, h), V (2, h), and a number made of them.
    ///
    /// The slope in an output is softmax + 1/2. With a minus it would cancel wherever the hidden layer is dead, and
    /// rounding, relative to a gradient of almost zero, would look like an error.
    fn network<'t, T: Real>(x: &[Var<'t, T>]) -> Var<'t, T> {
        let z = x[0].matmul(x[1].t());
        let out = (z + x[2].broadcast_to(z.shape())).softplus(T::of(3.0)).matmul(x[3].t());
        (out.log_sum_exp_rows() + out.sum_rows().scale(T::of(0.5))).square_norm()
    }

    /// All of `check` on <f(x), w>, as a function of x and of w, so that second derivatives mix the two.
    fn verify<F>(name: &str, f: F, shapes: &[(usize, usize)], mut draws: Draws) -> Result<(), TestCaseError>
    where
        F: for<'t> Fn(&[Var<'t, f64>]) -> Var<'t, f64>,
    {
        let n = shapes.len();
        let mut at = draws.arrays(shapes);
        let output = {
            let tape = Tape::new();
            f(&at.iter().map(|a| tape.var(a.clone())).collect::<Vec<_>>()).shape()
        };
        let mut v = draws.arrays(shapes);
        let w = draws.array(output);
        let error = check::transpose_identity(&f, &at, &v, &w);
        prop_assert!(error < EXACT, "{name}: <Jv, w> and <v, J'w> differ by {error}");

        at.push(w);
        v.push(draws.array(output));
        let error = check::gradient(|x| f(&x[..n]).inner(x[n]), &at, &v, STEP);
        prop_assert!(error < CLOSE, "{name}: gradient off by {error}");
        let u = draws.arrays(&at.iter().map(|a| a.dim()).collect::<Vec<_>>());
        let error = check::gradient_of_gradient(|x| f(&x[..n]).inner(x[n]), &at, &u, &v, STEP);
        prop_assert!(error < CLOSE, "{name}: gradient of the gradient off by {error}");
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn every_rule_of_one_array(shape in (1usize..5, 1usize..5), draws in draws()) {
            for (name, f) in ONE {
                verify(name, |x| f(x[0]), &[shape], draws.clone())?;
            }
        }

        #[test]
        fn every_rule_of_two_arrays(shape in (1usize..4, 1usize..5), draws in draws()) {
            for (name, f) in TWO {
                verify(name, |x| f(x[0], x[1]), &[shape, shape], draws.clone())?;
            }
        }

        #[test]
        fn a_network_with_bias_and_two_outputs(
            (n, d, h) in (1usize..4, 1usize..4, 1usize..4), draws in draws(),
        ) {
            verify("network", network, &[(n, d), (h, d), (1, h), (2, h)], draws)?;
        }

        #[test]
        fn the_gate_is_the_declared_derivative(
            shape in (1usize..5, 1usize..5), alpha in 0.5..20.0_f64, mut draws in draws(),
        ) {
            let tape = Tape::new();
            let x = tape.var(draws.array(shape));
            let value = x.relu_gated(alpha);
            prop_assert_eq!(value.value(), x.relu().value());
            let s = x.value().mapv(|z| 1.0 / (1.0 + (-alpha * z).exp()));
            let mut y = value.sum();
            for expected in [
                s.clone(),
                s.mapv(|s| alpha * s * (1.0 - s)),
                s.mapv(|s| alpha * alpha * s * (1.0 - s) * (1.0 - 2.0 * s)),
            ] {
                let slope = tape.grad(y, &[x])[0];
                let error = (slope.value() - &expected).fold(0.0_f64, |worst, e| worst.max(e.abs()));
                prop_assert!(error < 1e-10, "off by {error}");
                y = slope.sum();
            }
        }
    }

    #[test]
    fn single_precision_has_the_same_rules() {
        let at = [
            array![[0.5_f32, -1.0], [1.5, 0.3]],
            array![[1.0, 0.5], [-0.7, 0.2], [0.4, 0.9]],
            array![[0.1, -0.2, 0.3]],
            array![[1.0, -1.0, 0.5], [0.3, 0.8, -0.6]],
        ];
        let v = at.each_ref().map(|a| a.mapv(|e| (3.0 * e).cos()));
        let u = at.each_ref().map(|a| a.mapv(|e| (5.0 * e).sin()));
        assert!(check::gradient(network, &at, &v, 1e-2) < 1e-2);
        assert!(check::gradient_of_gradient(network, &at, &u, &v, 1e-2) < 1e-2);
        assert!(check::transpose_identity(network, &at, &v, &array![[0.7]]) < 1e-5);
    }

    #[test]
    fn what_y_does_not_depend_on_gets_zeros() {
        let tape = Tape::new();
        let (x, other) = (tape.var(array![[2.0, 3.0]]), tape.var(array![[1.0], [1.0]]));
        let y = x.square_norm();
        let later = tape.scalar(1.0);
        let g = tape.grad(y, &[other, later, y, x, x]);
        assert_eq!(g[0].value(), Array2::<f64>::zeros((2, 1)));
        assert_eq!((g[1].item(), g[2].item()), (0.0, 1.0));
        assert_eq!((g[3].value(), g[4].value()), (array![[4.0, 6.0]], array![[4.0, 6.0]]));
        assert_eq!(tape.jvp(y, &[other], &[other]).item(), 0.0);
        assert_eq!(tape.grad(x.step().sum(), &[x])[0].value(), array![[0.0, 0.0]]);
    }

    #[test]
    fn a_variable_and_what_is_computed_from_it_both_get_their_derivative() {
        let tape = Tape::new();
        let x = tape.scalar(3.0);
        let square = x * x;
        let g = tape.grad(square * square, &[x, square]);
        assert_eq!((g[0].item(), g[1].item()), (108.0, 18.0)); // 4 x^3 and 2 x^2
    }

    #[test]
    fn only_what_is_asked_for_is_computed() {
        let tape = Tape::new();
        let (a, b) = (tape.var(array![[1.0, 2.0]]), tape.var(array![[3.0], [4.0]]));
        let y = a.matmul(b);
        let before = tape.len();
        tape.grad(y, &[a]);
        assert_eq!(tape.len() - before, 3); // the seed 1, the transpose of b, one product
    }

    #[test]
    #[should_panic(expected = "grad: y is (1, 2), needed (1, 1); for an array use vjp")]
    fn the_gradient_of_an_array_is_refused() {
        let tape = Tape::new();
        let x = tape.var(array![[1.0, 2.0]]);
        tape.grad(x, &[x]);
    }
}
