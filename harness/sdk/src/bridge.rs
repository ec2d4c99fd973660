//! Between the safe traits and the boundary: panics become errors, gradients are off, shapes are
//! checked before an author's code sees them.

use std::{
    any::Any,
    cell::OnceCell,
    panic::{AssertUnwindSafe, catch_unwind},
};

use abi_stable::std_types::RStr;
use harness_abi::{AbiResult, DType, ErrorCode};

use crate::{Error, Result, Value, View, ViewMut};

/// One author's instance with its name, and the panic that has ended it.
pub(crate) struct Bridge<T: ?Sized> {
    name: String,
    ended: OnceCell<String>,
    pub(crate) inner: Box<T>,
}

impl<T: ?Sized> Bridge<T> {
    pub(crate) fn new(name: &str, inner: Box<T>) -> Self {
        Self {
            name: name.to_owned(),
            ended: OnceCell::new(),
            inner,
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Runs a reading method.
    pub(crate) fn with<R>(&self, method: &str, f: impl FnOnce(&T) -> Result<R>) -> AbiResult<R> {
        run(&self.name, method, &self.ended, || f(&self.inner))
    }

    /// Runs a changing method.
    pub(crate) fn with_mut<R>(
        &mut self,
        method: &str,
        f: impl FnOnce(&mut T) -> Result<R>,
    ) -> AbiResult<R> {
        let inner = &mut self.inner;
        run(&self.name, method, &self.ended, || f(inner))
    }
}

fn run<R>(
    name: &str,
    method: &str,
    ended: &OnceCell<String>,
    f: impl FnOnce() -> Result<R>,
) -> AbiResult<R> {
    if let Some(panic) = ended.get() {
        let message = format!("{name}: {method} after a panic has ended the instance: {panic}");
        return AbiResult::RErr(Error::new(ErrorCode::PANIC, message).into_abi());
    }
    #[cfg(feature = "tch")]
    let _no_grad = tch::no_grad_guard();
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(Ok(value)) => AbiResult::ROk(value),
        Ok(Err(error)) => AbiResult::RErr(error.into_abi()),
        Err(payload) => {
            let message = panicked(name, method, payload);
            // The first panic is the one that matters.
            let _ = ended.set(message.clone());
            AbiResult::RErr(Error::new(ErrorCode::PANIC, message).into_abi())
        }
    }
}

fn panicked(name: &str, method: &str, payload: Box<dyn Any + Send>) -> String {
    let text = if let Some(text) = payload.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "a panic without a message".to_owned()
    };
    // A payload may panic again when it is dropped; that must not cross the boundary either.
    std::mem::forget(payload);
    format!("{name}: {method} panicked: {text}")
}

/// Runs a component's constructor for [`crate::export_plugin!`].
pub fn dispatch<B>(
    kind: &str,
    name: RStr<'_>,
    config: RStr<'_>,
    construct: impl FnOnce(&str, &Value) -> Option<Result<B>>,
) -> AbiResult<B> {
    let ended = OnceCell::new();
    run(name.as_str(), "constructor", &ended, || {
        let text = if config.is_empty() {
            "{}"
        } else {
            config.as_str()
        };
        let config: Value = serde_json::from_str(text)
            .map_err(|error| Error::config(format!("configuration of {kind} `{name}`: {error}")))?;
        construct(name.as_str(), &config)
            .unwrap_or_else(|| Err(Error::unsupported(format!("no {kind} named `{name}` here"))))
    })
}

/// Checks a view against an expected shape; `-1` takes any extent.
pub(crate) fn expect(what: &str, view: &View<'_>, shape: &[i64], dtypes: &[DType]) -> Result<()> {
    expect_parts(what, view.shape(), view.dtype(), shape, dtypes)
}

/// [`expect`] for an output.
pub(crate) fn expect_mut(
    what: &str,
    view: &ViewMut<'_>,
    shape: &[i64],
    dtypes: &[DType],
) -> Result<()> {
    expect_parts(what, view.shape(), view.dtype(), shape, dtypes)
}

fn expect_parts(
    what: &str,
    shape: &[i64],
    dtype: DType,
    expected: &[i64],
    dtypes: &[DType],
) -> Result<()> {
    let fits = shape.len() == expected.len()
        && shape
            .iter()
            .zip(expected)
            .all(|(&is, &wanted)| is >= 0 && (wanted == -1 || is == wanted));
    if !fits {
        return Err(Error::invalid(format!(
            "`{what}` has shape {shape:?}, expected {expected:?}"
        )));
    }
    if !dtypes.contains(&dtype) {
        return Err(Error::invalid(format!(
            "`{what}` holds {dtype:?}, expected one of {dtypes:?}"
        )));
    }
    Ok(())
}

/// Element types a residual may have.
pub(crate) const FLOATS: &[DType] = &[DType::F32, DType::BF16, DType::F16];
