//! What SAEs are trained on: the one type for benches, cells, training and measures.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The positions that an SAE was trained on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// Masked positions of a corrupted row (Eq. 10).
    Mask,
    /// Visible positions of a corrupted row, the first token included, padding excluded (Eq. 11).
    Unmask,
    /// Every position of a row as it is.
    Clean,
}

impl Policy {
    /// Its name in files and on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mask => "mask",
            Self::Unmask => "unmask",
            Self::Clean => "clean",
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Policy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "mask" => Ok(Self::Mask),
            "unmask" => Ok(Self::Unmask),
            "clean" => Ok(Self::Clean),
            _ => Err(format!("policy `{text}`: mask, unmask or clean")),
        }
    }
}
