use serde::{Deserialize, Serialize};

/// What supervision of worker processes took: the price of keeping plugins out of the supervisor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Supervision {
    /// Workers started, those that took the place of dead ones included.
    pub workers_started: u64,
    /// Seconds from starting workers until they had loaded libtorch and plugins, all together.
    pub start_seconds: f64,
    /// Seconds that workers were ready, all together.
    pub ready_seconds: f64,
    /// Seconds of these without a cell: between two cells, or because what is left waits for other
    /// cells.
    pub idle_seconds: f64,
}
