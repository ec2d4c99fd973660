//! What a test has: a name with the law that it is of, and the component that it is run on.

use std::path::Path;

use harness_engine::plugin::Registry;

/// A test's name and its law.
pub(super) type Named = (&'static str, &'static str);

/// What the tests of a component share.
pub(super) struct Subject<'a> {
    pub(super) registry: Registry,
    /// Name of the component.
    pub(super) name: &'a str,
    /// A checkpoint, for models.
    pub(super) model_dir: Option<&'a Path>,
    /// An SAE, for architectures.
    pub(super) sae_dir: Option<&'a Path>,
}
