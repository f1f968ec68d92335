use ndarray::Axis;
use palimpsest_autograd::{Tape, Var};
use palimpsest_numerics::seed::Seed;
use proptest::prelude::*;

use super::*;
use crate::{BiasPlacement, Dense};

const SEQUENTIAL: Parallelism = Parallelism::Sequential;

/// `value + e1 + e2 + e12` with e1^2 = e2^2 = 0: exact first and mixed second derivatives.
#[derive(Clone, Copy, Default)]
struct Jet {
    value: f64,
    e1: f64,
    e2: f64,
    e12: f64,
}

impl Jet {
    fn plus(self, o: Self) -> Self {
        let [value, e1, e2, e12] = [self.value + o.value, self.e1 + o.e1, self.e2 + o.e2, self.e12 + o.e12];
        Self { value, e1, e2, e12 }
    }

    fn times(self, o: Self) -> Self {
        Self {
            value: self.value * o.value,
            e1: self.value * o.e1 + self.e1 * o.value,
            e2: self.value * o.e2 + self.e2 * o.value,
            e12: self.value * o.e12 + self.e1 * o.e2 + self.e2 * o.e1 + self.e12 * o.value,
        }
    }

    fn activated(self, activation: Activation) -> Self {
        let (k, z) = (activation.sharpness(), self.value);
        let gate = 1.0 / (1.0 + (-k * z).exp());
        let gated = |value| [value, gate, k * gate * (1.0 - gate)];
        let [value, slope, curvature] = match activation {
            Activation::Softplus { .. } => gated((k * z).exp().ln_1p() / k),
            Activation::SigmoidGate { .. } => gated(z.max(0.0)),
            Activation::Relu => [z.max(0.0), f64::from(u8::from(z > 0.0)), 0.0],
            Activation::LeakyRelu { slope } if z <= 0.0 => [slope * z, slope, 0.0],
            Activation::LeakyRelu { .. } => [z, 1.0, 0.0],
            Activation::Tanh => {
                let slope = z.cosh().powi(-2);
                [z.tanh(), slope, -2.0 * z.tanh() * slope]
            }
            Activation::Silu => self.times_sigmoid_of(z, 1.0, 0.0),
            Activation::GeluTanh => {
                let s = (8.0 / std::f64::consts::PI).sqrt();
                let u = s * (z + 0.044_715 * z.powi(3));
                self.times_sigmoid_of(u, s * (1.0 + 0.134_145 * z * z), s * 0.268_29 * z)
            }
        };
        let e12 = slope * self.e12 + curvature * self.e1 * self.e2;
        Self { value, e1: slope * self.e1, e2: slope * self.e2, e12 }
    }

    /// Value and derivatives of z sigmoid(u) for u with derivatives u1 and u2, by the product rule on exponentials.
    fn times_sigmoid_of(self, u: f64, u1: f64, u2: f64) -> [f64; 3] {
        let (z, e) = (self.value, (-u).exp());
        let (s, s1) = (1.0 / (1.0 + e), e / (1.0 + e).powi(2));
        let s2 = e * (e - 1.0) / (1.0 + e).powi(3);
        [z * s, s + z * s1 * u1, 2.0 * s1 * u1 + z * (s2 * u1 * u1 + s1 * u2)]
    }
}

/// Phi(x) one number at a time, for one x; e1 moves the parameters along `along`, e2 is the caller's.
fn naive(net: &Mlp<f64>, along: &Mlp<f64>, x: Vec<Jet>, activation: Activation) -> Vec<Jet> {
    let mut h = x;
    for (l, (layer, along)) in net.layers().iter().zip(along.layers()).enumerate() {
        let jet = |value, e1| Jet { value, e1, ..Jet::default() };
        let z = (0..layer.weight.nrows()).map(|j| {
            let bias = |dense: &Dense<f64>| dense.bias.as_ref().map_or(0.0, |b| b[j]);
            let start = jet(bias(layer), bias(along));
            let term = |i| jet(layer.weight[[j, i]], along.weight[[j, i]]).times(h[i]);
            (0..h.len()).fold(start, |z, i| z.plus(term(i)))
        });
        let last = l + 1 == net.depth();
        h = z.map(|z| if last { z } else { z.activated(activation) }).collect();
    }
    h
}

/// Weights and biases in layer order, as (rows, cols).
pub(crate) fn parts(net: &Mlp<f64>) -> Vec<Array2<f64>> {
    let bias = |l: &Dense<f64>| l.bias.clone().map(|b| b.insert_axis(Axis(0)));
    net.layers().iter().flat_map(|l| [Some(l.weight.clone()), bias(l)]).flatten().collect()
}

/// Pre-activations of every layer on a tape, the outputs last; `x` (m, d), `theta` as in [`parts`].
fn on_tape<'t>(
    net: &Mlp<f64>,
    theta: &[Var<'t, f64>],
    x: Var<'t, f64>,
    activation: Activation,
) -> Vec<Var<'t, f64>> {
    masked_on_tape(net, theta, x, activation, &[])
}

/// [`on_tape`] with hidden values multiplied by `masks`, if there are any.
pub(crate) fn masked_on_tape<'t>(
    net: &Mlp<f64>,
    theta: &[Var<'t, f64>],
    x: Var<'t, f64>,
    activation: Activation,
    masks: &[Array2<f64>],
) -> Vec<Var<'t, f64>> {
    let (mut theta, mut h, mut pre_activations) = (theta.iter(), x, Vec::new());
    for layer in net.layers() {
        let mut z = h.matmul(theta.next().unwrap().t());
        if layer.bias.is_some() {
            z = z + theta.next().unwrap().broadcast_to(z.shape());
        }
        h = match activation {
            Activation::Relu => z.relu(),
            Activation::SigmoidGate { alpha } => z.relu_gated(alpha),
            Activation::Softplus { beta } => z.softplus(beta),
            Activation::LeakyRelu { slope } => z.relu().scale(1.0 - slope) + z.scale(slope),
            Activation::Tanh => (z.scale(2.0).sigmoid() - z.scale(0.0).sigmoid()).scale(2.0),
            Activation::Silu => z * z.sigmoid(),
            Activation::GeluTanh => {
                let s = (8.0 / std::f64::consts::PI).sqrt();
                z * (z + (z * z * z).scale(0.044_715)).scale(s).sigmoid()
            }
        };
        if let Some(mask) = masks.get(pre_activations.len()) {
            h = h * h.tape().var(mask.clone());
        }
        pre_activations.push(z);
    }
    pre_activations
}

/// Every activation whose derivatives agree with its declared ones at all but single points.
pub(crate) fn any_activation() -> impl Strategy<Value = Activation> {
    prop_oneof![
        (0.5..30.0_f64).prop_map(|beta| Activation::Softplus { beta }),
        (0.5..30.0_f64).prop_map(|alpha| Activation::SigmoidGate { alpha }),
        (0.0..0.9_f64).prop_map(|slope| Activation::LeakyRelu { slope }),
        Just(Activation::Relu),
        Just(Activation::Tanh),
        Just(Activation::Silu),
        Just(Activation::GeluTanh),
    ]
}

pub(crate) fn close(found: &Array2<f64>, expected: &Array2<f64>) -> bool {
    let size = expected.iter().fold(0.0_f64, |size, e| size.max(e.abs()));
    found.dim() == expected.dim() && (found - expected).iter().all(|e| e.abs() <= 1e-10 * size.max(1e-3))
}

proptest! {
    #[test]
    fn all_passes_agree_with_the_tape_and_with_loops(
        widths in prop::collection::vec(1usize..6, 2..6),
        placement in prop::sample::select(vec![
            BiasPlacement::FirstLayer, BiasPlacement::Everywhere, BiasPlacement::Nowhere,
        ]),
        (m, activation, seed) in (1usize..5, any_activation(), any::<u64>()),
    ) {
        let draw = |name: &str, dims: &[usize]| Mlp::<f64>::initialise(dims, placement, 0.7, Seed::new(seed).named(name));
        let (net, along) = (draw("network", &widths), draw("direction", &widths));
        let rows = |name: &str, cols: usize| draw(name, &[cols, m]).layers()[0].weight.clone();
        let (x, g) = (rows("x", net.inputs()), rows("g", net.outputs()));

        let mut passes = Passes::with_curvature(&net, m);
        let mut gradient = draw("what was there before", &widths);
        let before = gradient.clone();
        let mut dx = Array2::from_elem(x.dim(), f64::NAN);
        // The first round leaves numbers of another batch in the memory.
        for x in [rows("other x", net.inputs()), x.clone()] {
            gradient.assign(&before);
            forward(&net, x.view(), activation, &mut passes, SEQUENTIAL);
            backward(&net, g.view(), &mut passes, SEQUENTIAL);
            parameter_gradient(x.view(), &passes, -2.0, 0.5, Scope::AllLayers, &mut gradient, SEQUENTIAL);
            tangent(&net, &along, Scope::AllLayers, x.view(), &mut passes, SEQUENTIAL);
            tangent_input_gradient(&net, &along, Scope::AllLayers, activation, 3.0, &mut passes, dx.view_mut(), SEQUENTIAL);
        }

        let jets = |i: usize| x.row(i).iter().map(|&value| Jet { value, ..Jet::default() }).collect::<Vec<_>>();
        let table = |along: &Mlp<f64>, pick: fn(Jet) -> f64| Array2::from_shape_fn((m, net.outputs()), |(i, k)| {
            pick(naive(&net, along, jets(i), activation)[k])
        });
        prop_assert!(close(&passes.output, &table(&along, |jet| jet.value)));
        prop_assert!(close(&passes.output_tangent, &table(&along, |jet| jet.e1)));
        let mut unit = net.zeros_like();
        for l in 0..net.depth() {
            let expected = Array2::from_shape_fn(net.layers()[l].weight.dim(), |at| {
                unit.layers_mut()[l].weight[at] = 1.0;
                let slope = (&table(&unit, |jet| jet.e1) * &g).sum();
                unit.layers_mut()[l].weight[at] = 0.0;
                -2.0 * slope + 0.5 * before.layers()[l].weight[at]
            });
            prop_assert!(close(&gradient.layers()[l].weight, &expected), "gradient of layer {}", l);
        }
        let expected = Array2::from_shape_fn(x.dim(), |(i, j)| {
            let mut moved = jets(i);
            moved[j].e2 = 1.0;
            let phi = naive(&net, &along, moved, activation);
            3.0 * phi.iter().zip(g.row(i)).map(|(jet, g)| g * jet.e12).sum::<f64>()
        });
        prop_assert!(close(&dx, &expected), "input gradient by loops");

        let tape = Tape::new();
        let put = |net: &Mlp<f64>| parts(net).into_iter().map(|p| tape.var(p)).collect::<Vec<_>>();
        let (theta, e, x, g) = (put(&net), put(&along), tape.var(x), tape.var(g));
        let z = on_tape(&net, &theta, x, activation);
        let (&output, hidden) = z.split_last().unwrap();
        let (total, moved) = (output.inner(g), tape.jvp(output, &theta, &e));
        prop_assert!(close(&passes.output, &output.value()));
        prop_assert!(close(&passes.output_tangent, &moved.value()));
        for (found, expected) in passes.delta.iter().zip(tape.grad(total, hidden)) {
            prop_assert!(close(found, &expected.value()), "deltas");
        }
        for ((found, before), expected) in
            parts(&gradient).iter().zip(parts(&before)).zip(tape.grad(total, &theta))
        {
            prop_assert!(close(found, &(expected.value() * -2.0 + before * 0.5)), "parameter gradient");
        }
        let expected = tape.grad(moved.inner(g), &[x])[0].value() * 3.0;
        prop_assert!(close(&dx, &expected), "input gradient by the tape");
    }
}

#[test]
fn a_scope_is_a_direction_with_zeros_elsewhere() {
    let net = Mlp::<f64>::initialise(&[4, 6, 5, 1], BiasPlacement::FirstLayer, 0.7, Seed::new(1));
    let along = Mlp::<f64>::initialise(&[4, 6, 5, 1], BiasPlacement::FirstLayer, 0.7, Seed::new(2));
    let mut first_only = along.zeros_like();
    first_only.layers_mut()[0] = along.layers()[0].clone();
    let x =
        Mlp::<f64>::initialise(&[4, 3], BiasPlacement::Nowhere, 0.7, Seed::new(3)).layers()[0].weight.clone();
    let g = Array2::from_elem((3, 1), 0.5);
    let activation = Activation::SigmoidGate { alpha: 5.0 };
    let run = |along: &Mlp<f64>, scope: Scope| {
        let mut passes = Passes::new(&net, 3);
        // The second round must not see the numbers of the first.
        let mut dx = Array2::zeros(x.dim());
        for scope in [Scope::AllLayers, scope] {
            forward(&net, x.view(), activation, &mut passes, SEQUENTIAL);
            backward(&net, g.view(), &mut passes, SEQUENTIAL);
            tangent(&net, along, scope, x.view(), &mut passes, SEQUENTIAL);
            tangent_input_gradient(
                &net,
                along,
                scope,
                activation,
                1.0,
                &mut passes,
                dx.view_mut(),
                SEQUENTIAL,
            );
        }
        let mut gradient = net.zeros_like();
        parameter_gradient(x.view(), &passes, 1.0, 0.0, scope, &mut gradient, SEQUENTIAL);
        (passes.output_tangent.clone(), dx, gradient)
    };
    let (expected_tangent, expected_dx, all) = run(&first_only, Scope::AllLayers);
    let (tangent, dx, first) = run(&along, Scope::FirstLayer);
    assert!(close(&tangent, &expected_tangent) && close(&dx, &expected_dx));
    assert_eq!(first.layers()[0], all.layers()[0]);
    assert!(first.layers()[1].weight.iter().all(|&v| v == 0.0));
}

proptest! {
    #[test]
    fn masked_passes_agree_with_the_tape(
        widths in prop::collection::vec(1usize..6, 2..5),
        (m, activation, seed) in (1usize..5, any_activation(), any::<u64>()),
    ) {
        let draw = |name: &str, dims: &[usize]| {
            Mlp::<f64>::initialise(dims, BiasPlacement::Everywhere, 0.7, Seed::new(seed).named(name))
        };
        let net = draw("network", &widths);
        let rows = |name: &str, cols: usize| draw(name, &[cols, m]).layers()[0].weight.clone();
        let (x, g) = (rows("x", net.inputs()), rows("g", net.outputs()));
        let mask = |width: usize| rows(&format!("mask {width}"), width).mapv(|v| if v > 0.0 { 1.5 } else { 0.0 });
        let masks: Vec<Array2<f64>> = widths[1..widths.len() - 1].iter().map(|&width| mask(width)).collect();
        let (mut passes, mut gradient) = (Passes::new(&net, m), net.zeros_like());
        forward_masked(&net, x.view(), activation, &masks, &mut passes, SEQUENTIAL);
        backward(&net, g.view(), &mut passes, SEQUENTIAL);
        parameter_gradient(x.view(), &passes, 1.0, 0.0, Scope::AllLayers, &mut gradient, SEQUENTIAL);
        let tape = Tape::new();
        let theta: Vec<_> = parts(&net).into_iter().map(|p| tape.var(p)).collect();
        let output = *masked_on_tape(&net, &theta, tape.var(x), activation, &masks).last().unwrap();
        prop_assert!(close(&passes.output, &output.value()));
        for (found, expected) in parts(&gradient).iter().zip(tape.grad(output.inner(tape.var(g)), &theta)) {
            prop_assert!(close(found, &expected.value()), "parameter gradient");
        }
    }
}
