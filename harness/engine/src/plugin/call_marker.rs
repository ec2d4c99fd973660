//! The worker's end of the call marker: which plugin's method is under way, written to memory that
//! the host can read after this process was killed. Without a marker nothing is written, and a call
//! costs a branch.

use std::{
    fs, io,
    path::Path,
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed, Ordering::Release},
    },
};

use harness_contract::call_marker::{
    CALLS, METHOD, NAME_BYTES, NAMES, PLACES, WORDS, method, names,
};
use memmap2::MmapRaw;

static MARKER: OnceLock<CallMarker> = OnceLock::new();

struct CallMarker {
    map: MmapRaw,
    /// Plugin and component of each place that has a name, from place 1 on.
    places: Mutex<Vec<(String, String)>>,
}

/// A component, as calls of its methods name it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place(u64);

/// Marks calls in a file of [`harness_contract::call_marker`] from now on, and takes its name away.
/// The first file stays the only one.
///
/// # Errors
/// A file that is not there, or has another size.
pub fn mark_calls_in(path: &Path) -> io::Result<()> {
    // A process has one marker: a second file is opened, and is not written to.
    let _ = MARKER.set(CallMarker::open(path)?);
    Ok(())
}

impl CallMarker {
    fn open(path: &Path) -> io::Result<CallMarker> {
        let file = fs::OpenOptions::new().read(true).write(true).open(path)?;
        if file.metadata()?.len() != WORDS as u64 * 8 {
            return Err(io::Error::other("it is no call marker"));
        }
        let map = MmapRaw::map_raw(&file)?;
        fs::remove_file(path)?;
        Ok(CallMarker {
            map,
            places: Mutex::default(),
        })
    }

    fn word(&self, i: usize) -> &AtomicU64 {
        assert!(i < WORDS);
        // SAFETY: the map is `WORDS` words long, as its file was, begins at a page and lives as
        // long as `self`; this process reaches it through these atomics alone, and the host only
        // reads the file.
        unsafe { AtomicU64::from_ptr(self.map.as_mut_ptr().cast::<u64>().add(i)) }
    }

    fn place(&self, plugin: &str, component: &str) -> u64 {
        let Ok(mut places) = self.places.lock() else {
            return 0;
        };
        let is_it = |(p, c): &(String, String)| p == plugin && c == component;
        let at = places.iter().position(is_it).unwrap_or_else(|| {
            let at = places.len();
            if at + 1 < PLACES {
                places.push((plugin.to_owned(), component.to_owned()));
                let first = NAMES + (at + 1) * NAME_BYTES / 8;
                for (i, word) in names(plugin, component).into_iter().enumerate() {
                    self.word(first + i).store(word, Relaxed);
                }
            }
            at
        });
        match at + 1 < PLACES {
            true => at as u64 + 1,
            false => 0,
        }
    }

    #[inline]
    fn follow<T>(&self, place: Place, name: &str, call: impl FnOnce() -> T) -> T {
        // Whoever dies between two of these stores dies outside the method, and is seen so.
        self.word(0).store(0, Release);
        for (i, word) in method(name).into_iter().enumerate() {
            self.word(METHOD + i).store(word, Release);
        }
        let calls = self.word(CALLS).load(Relaxed);
        self.word(CALLS).store(calls.wrapping_add(1), Release);
        self.word(0).store(place.0 << 1 | 1, Release);
        let returned = call();
        self.word(0).store(place.0 << 1, Release);
        returned
    }
}

/// The place of a component.
pub(super) fn place(plugin: &str, component: &str) -> Place {
    Place(
        MARKER
            .get()
            .map_or(0, |marker| marker.place(plugin, component)),
    )
}

/// Runs a plugin's method; while it is under way, and after it, the marker says so.
#[inline]
pub(super) fn follow<T>(place: Place, name: &str, call: impl FnOnce() -> T) -> T {
    match MARKER.get() {
        Some(marker) => marker.follow(place, name, call),
        None => call(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use harness_contract::call_marker;

    /// A marker of the test's own: the process's is written by whatever calls plugins beside it.
    #[test]
    fn a_call_is_marked() {
        let host = call_marker::CallMarker::create().unwrap();
        assert!(mark_calls_in(Path::new("/nowhere")).is_err());
        let marker = CallMarker::open(&host.path()).unwrap();
        assert!(!host.path().exists(), "nothing is left to clean up");
        let place = |plugin, component| Place(marker.place(plugin, component));
        let (one, other) = (place("p", "metric `m`"), place("q", "sae `x`"));
        marker.follow(one, "update", || {
            let step = host.last().unwrap();
            assert_eq!(
                (step.plugin.as_str(), step.method.as_str()),
                ("p", "update")
            );
            assert!(step.is_under_way);
        });
        marker.follow(other, "encode", || ());
        let step = host.last().unwrap();
        assert_eq!(step.component, "sae `x`");
        assert!(!step.is_under_way && host.calls() == 2);
        assert_eq!(place("p", "metric `m`").0, one.0);
    }
}
