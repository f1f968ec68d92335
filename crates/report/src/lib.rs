//! Picture grids, self-contained HTML and JSON reports of a reconstruction.
