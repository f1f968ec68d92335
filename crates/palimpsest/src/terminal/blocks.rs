//! Small pictures in a terminal, by half blocks: each character is two pixels, one above the other.

use std::fmt::Write as _;

/// One picture of bytes, grey or RGB (the channels of a pixel side by side), row by row.
#[derive(Clone, Debug)]
pub struct Pixels {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// 1 or 3.
    pub channels: usize,
    /// The values.
    pub bytes: Vec<u8>,
}

impl Pixels {
    fn at(&self, row: usize, column: usize) -> [u8; 3] {
        let pixel = &self.bytes[(row * self.width + column) * self.channels..][..self.channels];
        if self.channels == 3 { [pixel[0], pixel[1], pixel[2]] } else { [pixel[0]; 3] }
    }

    /// At most so many rows and columns, by the means of square blocks.
    fn within(&self, most: usize) -> Self {
        let by = self.width.max(self.height).div_ceil(most.max(1)).max(1);
        let (width, height) = ((self.width / by).max(1), (self.height / by).max(1));
        let mut bytes = Vec::with_capacity(width * height * self.channels);
        for (row, column) in (0..height).flat_map(|row| (0..width).map(move |column| (row, column))) {
            for channel in 0..self.channels {
                let rows = row * by..(row * by + by).min(self.height);
                let columns = column * by..(column * by + by).min(self.width);
                let count = rows.len() * columns.len();
                let value = |row: usize, column: usize| {
                    usize::from(self.bytes[(row * self.width + column) * self.channels + channel])
                };
                let sum: usize =
                    rows.flat_map(|r| columns.clone().map(move |c| (r, c))).map(|(r, c)| value(r, c)).sum();
                bytes.push((sum / count.max(1)) as u8);
            }
        }
        Self { width, height, bytes, channels: self.channels }
    }
}

/// `pictures` of one size side by side, each at most 28 characters wide, as many as `columns` of characters have room for.
pub fn half_blocks(pictures: &[Pixels], columns: usize) -> String {
    let small: Vec<Pixels> = pictures.iter().map(|picture| picture.within(28)).collect();
    let Some(first) = small.first() else { return String::new() };
    let shown = (columns / (first.width + 1)).min(small.len());
    let mut text = String::new();
    for top in (0..first.height).step_by(2) {
        for picture in &small[..shown] {
            for column in 0..picture.width {
                let [r, g, b] = picture.at(top, column);
                let below = if top + 1 < picture.height { picture.at(top + 1, column) } else { [0; 3] };
                let [below_r, below_g, below_b] = below;
                // Writing to a string cannot fail.
                let _ =
                    write!(text, "\x1b[38;2;{r};{g};{b}m\x1b[48;2;{below_r};{below_g};{below_b}m\u{2580}");
            }
            text.push_str("\x1b[0m ");
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_is_two_pixels() {
        let grey = Pixels { width: 1, height: 2, channels: 1, bytes: vec![7, 9] };
        assert_eq!(half_blocks(&[grey], 80), "\x1b[38;2;7;7;7m\x1b[48;2;9;9;9m\u{2580}\x1b[0m \n");
        let odd = Pixels { width: 1, height: 1, channels: 3, bytes: vec![1, 2, 3] };
        assert_eq!(half_blocks(&[odd], 80), "\x1b[38;2;1;2;3m\x1b[48;2;0;0;0m\u{2580}\x1b[0m \n");
        assert_eq!(half_blocks(&[], 80), "");
    }

    #[test]
    fn as_many_are_shown_as_there_is_room_for() {
        let large = Pixels { width: 56, height: 56, channels: 1, bytes: vec![100; 56 * 56] };
        let text = half_blocks(&vec![large; 5], 60);
        assert_eq!(text.lines().count(), 14);
        assert_eq!(text.lines().next().unwrap().matches('\u{2580}').count(), 2 * 28);
        assert!(
            half_blocks(&[Pixels { width: 40, height: 1, channels: 1, bytes: vec![0; 40] }], 3)
                .trim()
                .is_empty()
        );
    }
}
