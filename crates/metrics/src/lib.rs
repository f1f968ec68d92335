//! NCC, SSIM, bicubic resizing, matching, null models and counts at a held-out rate for judging reconstructions.
