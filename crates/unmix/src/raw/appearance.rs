//! How a raw image looks.

/// What a raw image looks like, and how near that is to what the network says of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Appearance {
    /// Mean `ln(1 + (e / s)^2)` over the edges e of the image, s being a tenth of their root mean square: small where edges are
    /// few and strong.
    pub contrast: f32,
    /// Brightest pixel but one of the image when it has as much of the mean image as an input has, in units of that of the typical source:
    /// about 1 for an input.
    pub brightness: f32,
    /// Cosine of the image, without the mean, with what it was before it was refined: 1 where the network and what is known of raw
    /// images agree.
    pub unchanged: f32,
}
