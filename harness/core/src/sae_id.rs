//! Which SAE: the one type that names it in plans, rows and messages.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An SAE of a set. Its site is the residual stream after a block, the only one that is read.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SaeId {
    /// Its set, e.g. `dream-mask`.
    pub set: String,
    /// Its name within the set: its folder as seen from the set's.
    pub id: String,
    /// Block whose output it reads, from 0.
    pub layer: u32,
    /// Active budget; `None` for an SAE of a kind without one.
    pub k: Option<u32>,
}

impl fmt::Display for SaeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&sae_name(&self.set, self.layer, self.k))
    }
}

/// An SAE in messages: `dream-mask layer 2 k 8`.
pub fn sae_name(set: &str, layer: u32, k: Option<u32>) -> String {
    let k = k.map_or_else(String::new, |k| format!(" k {k}"));
    format!("{set} layer {layer}{k}")
}
