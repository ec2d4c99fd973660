//! What `torch.save` writes of a state dict, read from bytes alone: nothing is unpickled.
//!
//! An [`Archive`] is the zip file; the pickle inside it says what its tensors are called and where
//! their numbers lie. A [`StateDict`] is such a file on a disk.

mod archive;
mod names;
mod numbers;
mod pickle;

use std::{
    fs::File,
    path::{Path, PathBuf},
    rc::Rc,
};

use crate::{InputError, Result, files};

pub use archive::{Archive, Items, Refusal};
pub use names::{unwrapped, unwrapped_items};
pub use numbers::numel;
pub use pickle::{Item, Scalar, TensorDesc, parse};

/// A `.pt` file with the state dict of one module.
#[derive(Debug)]
pub struct StateDict {
    path: PathBuf,
    archive: Archive<File>,
    /// What it holds, under the names that the module itself gives.
    pub items: Items,
}

impl StateDict {
    /// Opens a file and reads what its pickle describes.
    ///
    /// # Errors
    /// What the file is instead; an archive or a pickle that [`Archive::open`] refuses; two names
    /// that become one.
    pub fn open(path: &Path) -> Result<StateDict> {
        let (file, size, head) = files::open(path)?;
        let (archive, items) = Archive::open(file, &head, size).map_err(refused(path))?;
        let items = unwrapped_items(items)
            .map_err(|what| InputError::unusable(path, format!("{what}; keep one of them")))?;
        Ok(StateDict {
            path: path.to_owned(),
            archive,
            items,
        })
    }

    /// The tensor of a name.
    pub fn tensor(&self, name: &str) -> Option<&Rc<TensorDesc>> {
        self.named(name).find_map(|item| match item {
            Item::Tensor(tensor) => Some(tensor),
            Item::Scalar(_) | Item::Dict => None,
        })
    }

    /// The number or word of a name.
    pub fn scalar(&self, name: &str) -> Option<&Scalar> {
        self.named(name).find_map(|item| match item {
            Item::Scalar(scalar) => Some(scalar),
            Item::Tensor(_) | Item::Dict => None,
        })
    }

    /// The items of a name: without its prefix, a tensor may be called as a scalar beside it.
    fn named(&self, name: &str) -> impl Iterator<Item = &Item> {
        let is_called = move |(known, _): &&(String, Item)| known == name;
        self.items.iter().filter(is_called).map(|(_, item)| item)
    }

    /// The whole storage of a tensor. `name` names it in errors.
    ///
    /// # Errors
    /// A record that is missing, damaged or of another size.
    pub fn storage(&mut self, name: &str, tensor: &TensorDesc) -> Result<Vec<u8>> {
        let storage = self.archive.storage(name, tensor);
        storage.map_err(refused(&self.path))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn refused(path: &Path) -> impl Fn(Refusal) -> InputError {
    move |Refusal { what, hint }| InputError::unusable(path, format!("{what}; {hint}"))
}
