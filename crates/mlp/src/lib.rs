//! Multilayer perceptrons: passes, training to a KKT point in log space, checkpoints, PyTorch weight files.
