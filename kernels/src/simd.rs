//! Instruction sets: what this processor has, and one function compiled for each of them.
//!
//! A kernel is written once in plain Rust over fixed lanes and compiled three times. Sums run over
//! the same lanes in the same order at every level and fused multiply-adds are fused at every
//! level, so that all levels give the same bits and a result does not tell which processor made it.

use std::{cell::Cell, sync::OnceLock};

/// An instruction set that the CPU forms are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// What every processor of the target has.
    Portable,
    /// AVX2 and FMA, eight f32 at a time.
    Avx2,
    /// AVX-512 F, BW, DQ and VL, sixteen f32 at a time.
    Avx512,
}

impl Level {
    /// Its name: `portable`, `avx2` or `avx512`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        }
    }

    /// Levels this machine can run, lowest first; `Portable` is always there.
    #[must_use]
    pub fn available() -> Vec<Self> {
        let best = Self::best();
        [Self::Portable, Self::Avx2, Self::Avx512]
            .into_iter()
            .filter(|&level| level <= best)
            .collect()
    }

    /// The highest level this machine can run; asked of the processor once.
    #[must_use]
    pub fn best() -> Self {
        static BEST: OnceLock<Level> = OnceLock::new();
        *BEST.get_or_init(detect)
    }

    /// Runs `work` with the kernels it calls held to this level, or to the best there is where that
    /// is lower.
    ///
    /// Only the calling thread is held, so tests can compare levels while others run.
    pub fn hold<T>(self, work: impl FnOnce() -> T) -> T {
        struct Restore(Option<Level>);
        impl Drop for Restore {
            fn drop(&mut self) {
                HELD.set(self.0);
            }
        }
        let _restore = Restore(HELD.replace(Some(self.min(Self::best()))));
        work()
    }

    /// The level the calling thread runs kernels at; never above [`Self::best`].
    pub(crate) fn current() -> Self {
        HELD.get().unwrap_or_else(Self::best)
    }
}

thread_local! {
    static HELD: Cell<Option<Level>> = const { Cell::new(None) };
}

#[cfg(target_arch = "x86_64")]
fn detect() -> Level {
    let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
    let avx512 = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl");
    match (avx2, avx512) {
        (true, true) => Level::Avx512,
        (true, false) => Level::Avx2,
        _ => Level::Portable,
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn detect() -> Level {
    Level::Portable
}

/// Compiles the `#[inline(always)]` function `body` once a level, under one name that takes the
/// level first.
macro_rules! levels {
    ($(#[$meta:meta])* $vis:vis fn $name:ident $(<$($T:ident: $bound:path),+>)? ($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? = $body:path;) => {
        $(#[$meta])*
        $vis fn $name $(<$($T: $bound),+>)? (level: $crate::simd::Level, $($arg: $ty),*) $(-> $ret)? {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
                fn avx512 $(<$($T: $bound),+>)? ($($arg: $ty),*) $(-> $ret)? { $body($($arg),*) }
                #[target_feature(enable = "avx2,fma")]
                fn avx2 $(<$($T: $bound),+>)? ($($arg: $ty),*) $(-> $ret)? { $body($($arg),*) }
                match level {
                    // SAFETY: levels come from `Level::current`, which is never above what the
                    // processor was found to have.
                    $crate::simd::Level::Avx512 => return unsafe { avx512($($arg),*) },
                    // SAFETY: as above.
                    $crate::simd::Level::Avx2 => return unsafe { avx2($($arg),*) },
                    $crate::simd::Level::Portable => {}
                }
            }
            #[cfg(not(target_arch = "x86_64"))]
            let _ = level;
            $body($($arg),*)
        }
    };
}
pub(crate) use levels;
