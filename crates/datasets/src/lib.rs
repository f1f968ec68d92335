//! Image data sets (IDX, CIFAR-10, npy, npz), binary tasks, balanced selection and centring, with embedded samples.
