//! Folders of results that must be there already.

use std::path::Path;

use harness_contract::exit;
use harness_store::{Access, Store};

use crate::failure::Failure;

/// A folder that holds results; another is neither made nor touched.
pub fn existing_store(dir: &Path, access: Access) -> Result<Store, Failure> {
    let store = Store::open(dir, Access::Read)?;
    if !store.is_store() {
        let message = format!("{} holds no results", dir.display());
        return Err(Failure::new(exit::NOTHING, message)
            .hint("give the folder that a bench wrote to, e.g. results/runs/table2"));
    }
    match access {
        Access::Read => Ok(store),
        Access::Write => Ok(Store::open(dir, Access::Write)?),
    }
}
