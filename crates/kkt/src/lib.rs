//! Reconstruction of training inputs from the stationarity (KKT) equations of a trained network, with a certificate.
