//! Matrix products, elementwise passes, fixed-order sums, factorisations, NNLS and named seeds, generic over f32 and f64.
