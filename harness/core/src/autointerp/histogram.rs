//! Activations by size.

/// Bits of an f32 below its exponent and the two highest bits of its fraction.
const DROPPED: u32 = 21;

/// Counts of activations above 0 in quarters of octaves: a bin begins at 2^e · (1 + j/4) and ends
/// where the next begins. The bin of an activation is what is left of its bits when the fraction's
/// lower ones are dropped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    first: u16,
    counts: Vec<u64>,
}

impl Histogram {
    /// Counts an activation above 0.
    pub fn add(&mut self, act: f32) {
        let bin = (act.to_bits() >> DROPPED) as u16;
        if self.counts.is_empty() {
            self.first = bin;
        }
        if bin < self.first {
            let more = usize::from(self.first - bin);
            self.counts.splice(0..0, std::iter::repeat_n(0, more));
            self.first = bin;
        }
        let at = usize::from(bin - self.first);
        if at >= self.counts.len() {
            self.counts.resize(at + 1, 0);
        }
        self.counts[at] += 1;
    }

    /// Lower edge of each bin that holds something, and what it holds; ascending.
    pub fn bins(&self) -> Vec<(f32, u64)> {
        (u32::from(self.first)..)
            .zip(&self.counts)
            .filter(|(_, count)| **count > 0)
            .map(|(bin, count)| (f32::from_bits(bin << DROPPED), *count))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_are_quarters_of_octaves() {
        let mut histogram = Histogram::default();
        for act in [1.0, 1.2499, 1.25, 3.0, 0.6, 3.4, 2.9] {
            histogram.add(act);
        }
        let want = [(0.5, 1), (1.0, 2), (1.25, 1), (2.5, 1), (3.0, 2)];
        assert_eq!(histogram.bins(), want);
        assert!(Histogram::default().bins().is_empty());
    }
}
