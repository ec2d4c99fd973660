//! The places of a text that have a window, and those drawn among them.

use crate::rng::Stream;

/// Positions with a whole window around them, over all rows of a text: those with `buffer` tokens
/// on either side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    buffer: u32,
    /// `[n_rows]`: places in this row and the rows before it.
    ends: Vec<u64>,
}

impl Places {
    /// Places of rows of these lengths.
    pub fn new(lengths: impl IntoIterator<Item = usize>, buffer: u32) -> Places {
        let mut sum = 0;
        let ends = lengths
            .into_iter()
            .map(|len| {
                sum += len.saturating_sub(2 * buffer as usize) as u64;
                sum
            })
            .collect();
        Places { buffer, ends }
    }

    /// How many there are.
    pub fn n(&self) -> u64 {
        self.ends.last().copied().unwrap_or(0)
    }

    /// Row and position of a place; `None` at and after [`Places::n`].
    pub fn at(&self, place: u64) -> Option<(u64, u32)> {
        let row = self.ends.partition_point(|end| *end <= place);
        self.ends.get(row)?;
        let before = row.checked_sub(1).map_or(0, |last| self.ends[last]);
        Some((row as u64, self.buffer + (place - before) as u32))
    }

    /// `n` places drawn uniformly with replacement for a latent, in the order of their draws; none
    /// where there is no place.
    pub fn draw(&self, seed: u64, latent: u32, n: u32) -> Vec<(u64, u32)> {
        let draws = Stream::new(seed, "random").item(u64::from(latent));
        (0..u64::from(n))
            .filter_map(|i| self.at(draws.below_at(i, self.n())))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_the_positions_with_whole_windows() {
        let places = Places::new([3, 7, 4, 5], 2);
        let all: Vec<(u64, u32)> = (0..places.n()).filter_map(|i| places.at(i)).collect();
        assert_eq!(all, [(1, 2), (1, 3), (1, 4), (3, 2)]);
        assert_eq!(places.at(4), None);
        let drawn = places.draw(1, 9, 400);
        assert!(all.iter().all(|place| drawn.contains(place)));
        assert_ne!(drawn, places.draw(1, 8, 400));
        assert!(Places::new([4], 2).draw(1, 9, 3).is_empty());
    }
}
