//! The k largest values, and of equal ones those that the reference takes.
//!
//! Most positions of a sparse latent have activation 0, so a row often has fewer active positions
//! than are to be steered and zeros fill the rest. The reference calls `torch.topk`, which on a CPU
//! is the C++ library's selection: which zeros it takes follows from the moves of that algorithm.
//! They are repeated here, because a recorded steered run depends on them. The outcome is a
//! function of the values in order, so it is the same in any batch.

/// Value and position; `a` goes before `b` when its value is larger.
type Entry = (f32, usize);

fn before(a: Entry, b: Entry) -> bool {
    a.0 > b.0
}

/// Moves the `k` entries of largest value to the front, in no particular order. `1 <= k <=
/// entries.len()`
pub fn largest_first(entries: &mut [Entry], k: usize) {
    // The reference sorts partially where few of many are wanted.
    if k * 64 <= entries.len() {
        heap_select(entries, k);
    } else {
        nth_element(entries, k - 1);
    }
}

/// Quickselect with a median-of-three pivot.
fn nth_element(entries: &mut [Entry], nth: usize) {
    let (mut first, mut last) = (0, entries.len());
    let mut depth = 2 * entries.len().max(1).ilog2();
    while last - first > 3 {
        if depth == 0 {
            heap_select(&mut entries[first..last], nth + 1 - first);
            entries.swap(first, nth);
            return;
        }
        depth -= 1;
        let cut = partition(entries, first, last);
        if cut <= nth {
            first = cut;
        } else {
            last = cut;
        }
    }
    // Stable, as an insertion sort is.
    entries[first..last].sort_by(|a, b| b.0.total_cmp(&a.0));
}

/// Partitions `first..last` around the median of three of its entries; where the second part
/// begins.
fn partition(entries: &mut [Entry], first: usize, last: usize) -> usize {
    let (a, b, c) = (first + 1, first + (last - first) / 2, last - 1);
    let is_before = |x: usize, y: usize| before(entries[x], entries[y]);
    let median = match (is_before(a, b), is_before(b, c), is_before(a, c)) {
        (true, true, _) | (false, false, false) => b,
        (true, false, true) | (false, true, false) => c,
        (true, false, false) | (false, _, true) => a,
    };
    entries.swap(first, median);
    let pivot = entries[first];
    let (mut low, mut high) = (first + 1, last);
    loop {
        while before(entries[low], pivot) {
            low += 1;
        }
        high -= 1;
        while before(pivot, entries[high]) {
            high -= 1;
        }
        if low >= high {
            return low;
        }
        entries.swap(low, high);
        low += 1;
    }
}

/// Keeps the `k` best of what was seen in a heap with the worst of them on top.
fn heap_select(entries: &mut [Entry], k: usize) {
    for parent in (0..k / 2).rev() {
        let value = entries[parent];
        sift(&mut entries[..k], parent, value);
    }
    for i in k..entries.len() {
        if before(entries[i], entries[0]) {
            let value = std::mem::replace(&mut entries[i], (0.0, 0));
            entries[i] = entries[0];
            sift(&mut entries[..k], 0, value);
        }
    }
}

/// Lets the hole at `top` sink to a leaf, then `value` rise from there.
fn sift(heap: &mut [Entry], top: usize, value: Entry) {
    let (mut hole, n) = (top, heap.len());
    while 2 * hole + 2 < n {
        let right = 2 * hole + 2;
        let child = if before(heap[right], heap[right - 1]) {
            right - 1
        } else {
            right
        };
        heap[hole] = heap[child];
        hole = child;
    }
    if 2 * hole + 2 == n {
        heap[hole] = heap[n - 1];
        hole = n - 1;
    }
    while hole > top && before(heap[(hole - 1) / 2], value) {
        heap[hole] = heap[(hole - 1) / 2];
        hole = (hole - 1) / 2;
    }
    heap[hole] = value;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(values: &[f32], k: usize) -> Vec<usize> {
        let mut entries: Vec<Entry> = values.iter().copied().zip(0..).collect();
        largest_first(&mut entries, k);
        let mut positions: Vec<usize> = entries[..k].iter().map(|entry| entry.1).collect();
        positions.sort_unstable();
        positions
    }

    /// Two steps of a recorded run, whose next states only follow from these choices among the
    /// zeros.
    #[test]
    fn zeros_are_those_of_the_reference() {
        let mut values = [0.0; 37];
        (values[1], values[2], values[4]) = (0.7633, 0.2336, 1.0392);
        assert_eq!(chosen(&values, 5), [1, 2, 4, 26, 27]);
        (values[1], values[2], values[4], values[6]) = (0.9895, 0.2862, 1.0617, 0.0393);
        assert_eq!(chosen(&values, 5), [1, 2, 4, 6, 27]);
    }

    #[test]
    fn no_value_left_out_is_larger_than_one_chosen() {
        for n in [1usize, 2, 3, 4, 7, 37, 200, 700] {
            for k in [1usize, 2, 3, 5, 10, 150].into_iter().filter(|k| *k <= n) {
                for seed in 0..20usize {
                    // Many equal values, and runs in both directions.
                    let values: Vec<f32> = (0..n)
                        .map(|i| match seed % 4 {
                            0 => ((i * 7919 + seed * 104_729) % 13) as f32,
                            1 => i as f32,
                            2 => (n - i) as f32,
                            _ => ((i * 31 + seed) % 997).saturating_sub(900) as f32,
                        })
                        .collect();
                    let chosen = chosen(&values, k);
                    let worst = chosen.iter().map(|i| values[*i]).fold(f32::MAX, f32::min);
                    let left = (0..n)
                        .filter(|i| !chosen.contains(i))
                        .map(|i| values[i])
                        .fold(f32::MIN, f32::max);
                    assert!(left <= worst, "n {n} k {k} seed {seed}");
                    assert_eq!(chosen.len(), k);
                    let mut distinct = chosen.clone();
                    distinct.dedup();
                    assert_eq!(distinct, chosen);
                }
            }
        }
    }
}
