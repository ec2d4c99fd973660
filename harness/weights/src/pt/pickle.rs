//! The subset of pickle that `torch.save` writes for a dictionary of tensors; everything else is
//! refused by name.
//!
//! Nothing is ever imported or called: a global is only compared with a list of names, and the one
//! "call" that is understood builds a description of a tensor. Containers live in an arena, so
//! neither depth nor cycles can exhaust the stack.

mod items;

use std::rc::Rc;

use safetensors::Dtype;

use super::numbers::{bytes_each, numel};

/// Longest program, in bytes. A state dict of an SAE needs some 600.
pub(super) const MAX_BYTES: u64 = 1 << 20;
const MAX_OPS: usize = 200_000;
const MAX_STACK: usize = 4096;
const MAX_MEMO: usize = 65_536;

/// A tensor as the pickle describes it.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorDesc {
    /// Name of the storage's record in the archive.
    pub storage: Rc<str>,
    pub dtype: Dtype,
    /// Elements of the whole storage.
    pub storage_len: u64,
    /// Element of the storage that it begins with.
    pub offset: u64,
    pub shape: Vec<u64>,
    /// Elements of the storage from one index to the next, for each size.
    pub stride: Vec<u64>,
}

impl TensorDesc {
    /// Bytes of the whole storage.
    #[must_use]
    pub fn storage_bytes(&self) -> u64 {
        self.storage_len * bytes_each(self.dtype)
    }
}

/// A value beside the tensors: a number or a word.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    Int(i64),
    /// A number with a fraction.
    Float(f64),
    Bool(bool),
    /// A word. It is shared: a pickle may recall a long one as often as it likes.
    Text(Rc<str>),
}

/// An item of the dictionary. Nested dictionaries are flattened as `outer.inner`.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    Tensor(Rc<TensorDesc>),
    /// A number or a word.
    Scalar(Scalar),
    /// A dictionary inside; its own items follow.
    Dict,
}

#[derive(Clone, Debug)]
enum Value {
    None,
    Scalar(Scalar),
    Global(Global),
    Storage {
        key: Rc<str>,
        dtype: Dtype,
        len: u64,
    },
    Tensor(Rc<TensorDesc>),
    /// Index into the arena.
    Tuple(usize),
    List(usize),
    Dict(usize),
    Mark,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Global {
    RebuildTensor,
    RebuildParameter,
    Storage(Dtype),
    OrderedDict,
}

fn global(module: &str, name: &str) -> Result<Global, String> {
    Ok(match (module, name) {
        ("torch._utils", "_rebuild_tensor_v2") => Global::RebuildTensor,
        ("torch._utils", "_rebuild_parameter") => Global::RebuildParameter,
        ("torch", "DoubleStorage") => Global::Storage(Dtype::F64),
        ("torch", "FloatStorage") => Global::Storage(Dtype::F32),
        ("torch", "HalfStorage") => Global::Storage(Dtype::F16),
        ("torch", "BFloat16Storage") => Global::Storage(Dtype::BF16),
        ("torch", "LongStorage") => Global::Storage(Dtype::I64),
        ("torch", "IntStorage") => Global::Storage(Dtype::I32),
        ("collections", "OrderedDict") => Global::OrderedDict,
        ("torch._utils", "_rebuild_sparse_tensor") => {
            return Err("it holds a sparse tensor (`torch._utils._rebuild_sparse_tensor`)".into());
        }
        ("torch._utils", "_rebuild_qtensor") => {
            return Err("it holds a quantised tensor (`torch._utils._rebuild_qtensor`)".into());
        }
        _ => {
            return Err(format!(
                "its pickle asks for `{}.{}`, which is not needed to store tensors; nothing was executed",
                printable(module),
                printable(name)
            ));
        }
    })
}

/// A name from outside, fit for a terminal.
fn printable(text: &str) -> String {
    text.chars()
        .take(80)
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

/// Runs the program and returns the dictionary's items in order.
///
/// # Errors
/// What is refused, in words.
pub fn parse(program: &[u8]) -> Result<Vec<(String, Item)>, String> {
    if program.len() as u64 > MAX_BYTES {
        return Err(format!(
            "pickle of {} bytes, limit {MAX_BYTES}",
            program.len()
        ));
    }
    let mut machine = Machine {
        program,
        ..Machine::default()
    };
    let root = machine.run()?;
    let Value::Dict(root) = root else {
        return Err("its pickle holds no dictionary of tensors".into());
    };
    let mut items = Vec::new();
    machine.collect(root, "", 0, &mut items)?;
    Ok(items)
}

#[derive(Default)]
struct Machine<'a> {
    program: &'a [u8],
    at: usize,
    stack: Vec<Value>,
    memo: Vec<Option<Value>>,
    tuples: Vec<Vec<Value>>,
    lists: Vec<Vec<Value>>,
    dicts: Vec<Vec<(Value, Value)>>,
    /// Dictionaries that [`Machine::collect`] has looked into.
    n_collected: usize,
}

impl<'a> Machine<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], String> {
        let end = self.at.checked_add(n).filter(|&e| e <= self.program.len());
        let end =
            end.ok_or_else(|| format!("pickle ends inside an instruction at byte {}", self.at))?;
        let bytes = &self.program[self.at..end];
        self.at = end;
        Ok(bytes)
    }

    fn number(&mut self, bytes: usize) -> Result<u64, String> {
        let mut value = [0; 8];
        value[..bytes].copy_from_slice(self.take(bytes)?);
        Ok(u64::from_le_bytes(value))
    }

    fn text(&mut self, n: usize) -> Result<String, String> {
        let bytes = self.take(n)?;
        Ok(std::str::from_utf8(bytes)
            .map_err(|_| "pickle holds a name that is not UTF-8")?
            .to_string())
    }

    fn line(&mut self) -> Result<String, String> {
        let rest = &self.program[self.at..];
        let n = rest
            .iter()
            .position(|&b| b == b'\n')
            .ok_or("pickle ends inside a name")?;
        let text = self.text(n)?;
        self.at += 1;
        Ok(text)
    }

    fn push(&mut self, value: Value) -> Result<(), String> {
        if self.stack.len() >= MAX_STACK {
            return Err(format!("pickle nests deeper than {MAX_STACK}"));
        }
        self.stack.push(value);
        Ok(())
    }

    fn pop(&mut self) -> Result<Value, String> {
        match self.stack.pop() {
            None | Some(Value::Mark) => Err("pickle takes from an empty stack".into()),
            Some(value) => Ok(value),
        }
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Value>, String> {
        let mark = self.stack.iter().rposition(|v| matches!(v, Value::Mark));
        let mark = mark.ok_or("pickle lacks a mark")?;
        let values = self.stack.split_off(mark + 1);
        self.stack.pop();
        Ok(values)
    }

    fn tuple(&mut self, values: Vec<Value>) -> Result<(), String> {
        self.tuples.push(values);
        self.push(Value::Tuple(self.tuples.len() - 1))
    }

    fn remember(&mut self, at: usize) -> Result<(), String> {
        if at >= MAX_MEMO {
            return Err(format!("pickle remembers more than {MAX_MEMO} values"));
        }
        let value = self.stack.last().ok_or("pickle remembers nothing")?.clone();
        if self.memo.len() <= at {
            self.memo.resize(at + 1, None);
        }
        self.memo[at] = Some(value);
        Ok(())
    }

    fn recall(&mut self, at: usize) -> Result<(), String> {
        let value = self.memo.get(at).cloned().flatten();
        self.push(value.ok_or_else(|| format!("pickle recalls value {at}, which it never stored"))?)
    }

    fn set_items(&mut self, pairs: Vec<Value>) -> Result<(), String> {
        let Some(&Value::Dict(dict)) = self.stack.last() else {
            return Err("pickle sets items of something that is no dictionary".into());
        };
        if !pairs.len().is_multiple_of(2) {
            return Err("pickle sets a key without a value".into());
        }
        let mut pairs = pairs.into_iter();
        while let (Some(key), Some(value)) = (pairs.next(), pairs.next()) {
            self.dicts[dict].push((key, value));
        }
        Ok(())
    }

    fn run(&mut self) -> Result<Value, String> {
        for _ in 0..MAX_OPS {
            let op = self.take(1)?[0];
            match op {
                0x80 => {
                    let protocol = self.number(1)?;
                    if !(2..=5).contains(&protocol) {
                        return Err(format!("pickle protocol {protocol}, read are 2 to 5"));
                    }
                }
                0x95 => drop(self.number(8)?), // FRAME, a length only
                b'.' => return self.pop(),
                b'(' => self.push(Value::Mark)?,
                b'0' => drop(self.pop()?),
                b'N' => self.push(Value::None)?,
                0x88 => self.push(Value::Scalar(Scalar::Bool(true)))?,
                0x89 => self.push(Value::Scalar(Scalar::Bool(false)))?,
                b'K' => {
                    let v = self.number(1)? as i64;
                    self.push(Value::Scalar(Scalar::Int(v)))?;
                }
                b'M' => {
                    let v = self.number(2)? as i64;
                    self.push(Value::Scalar(Scalar::Int(v)))?;
                }
                b'J' => {
                    let v = i64::from(self.number(4)? as u32 as i32);
                    self.push(Value::Scalar(Scalar::Int(v)))?;
                }
                0x8a => {
                    let n = self.number(1)? as usize;
                    if n > 8 {
                        return Err(format!("pickle holds an integer of {n} bytes, limit 8"));
                    }
                    let raw = self.number(n)?;
                    let unused = 64 - 8 * n as u32;
                    let v = if n == 0 {
                        0
                    } else {
                        ((raw << unused) as i64) >> unused
                    };
                    self.push(Value::Scalar(Scalar::Int(v)))?;
                }
                b'G' => {
                    let v = f64::from_bits(self.number(8)?.swap_bytes());
                    self.push(Value::Scalar(Scalar::Float(v)))?;
                }
                b'X' => {
                    let n = self.number(4)? as usize;
                    let v = self.text(n)?;
                    self.push(Value::Scalar(Scalar::Text(v.into())))?;
                }
                0x8c => {
                    let n = self.number(1)? as usize;
                    let v = self.text(n)?;
                    self.push(Value::Scalar(Scalar::Text(v.into())))?;
                }
                b')' => self.tuple(Vec::new())?,
                0x85..=0x87 => {
                    let n = usize::from(op - 0x84);
                    let mut values = Vec::with_capacity(n);
                    for _ in 0..n {
                        values.push(self.pop()?);
                    }
                    values.reverse();
                    self.tuple(values)?;
                }
                b't' => {
                    let values = self.pop_to_mark()?;
                    self.tuple(values)?;
                }
                b'}' => self.empty_dict()?,
                b']' => {
                    self.lists.push(Vec::new());
                    self.push(Value::List(self.lists.len() - 1))?;
                }
                b'a' => {
                    let value = self.pop()?;
                    self.append(vec![value])?;
                }
                b'e' => {
                    let values = self.pop_to_mark()?;
                    self.append(values)?;
                }
                b's' => {
                    let value = self.pop()?;
                    let key = self.pop()?;
                    self.set_items(vec![key, value])?;
                }
                b'u' => {
                    let pairs = self.pop_to_mark()?;
                    self.set_items(pairs)?;
                }
                b'q' => {
                    let at = self.number(1)? as usize;
                    self.remember(at)?;
                }
                b'r' => {
                    let at = self.number(4)? as usize;
                    self.remember(at)?;
                }
                0x94 => self.remember(self.memo.len())?,
                b'h' => {
                    let at = self.number(1)? as usize;
                    self.recall(at)?;
                }
                b'j' => {
                    let at = self.number(4)? as usize;
                    self.recall(at)?;
                }
                b'c' => {
                    let module = self.line()?;
                    let name = self.line()?;
                    self.push(Value::Global(global(&module, &name)?))?;
                }
                0x93 => {
                    let (name, module) = (self.pop()?, self.pop()?);
                    let (Value::Scalar(Scalar::Text(name)), Value::Scalar(Scalar::Text(module))) =
                        (name, module)
                    else {
                        return Err("pickle names a global by something that is no text".into());
                    };
                    self.push(Value::Global(global(&module, &name)?))?;
                }
                b'Q' => {
                    let id = self.pop()?;
                    let storage = self.storage(&id)?;
                    self.push(storage)?;
                }
                b'R' => {
                    let (arguments, callee) = (self.pop()?, self.pop()?);
                    self.reduce(&callee, &arguments)?;
                }
                b'b' => {
                    // `OrderedDict` of `Module.state_dict()` carries an attribute `_metadata`; it
                    // says nothing of the weights.
                    let state = self.pop()?;
                    if !matches!(
                        (self.stack.last(), &state),
                        (Some(Value::Dict(_)), Value::Dict(_))
                    ) {
                        return Err("its pickle sets the state of an object".into());
                    }
                }
                other => {
                    return Err(format!(
                        "its pickle uses instruction 0x{other:02x} at byte {}, which `torch.save` of tensors does not",
                        self.at - 1
                    ));
                }
            }
        }
        Err(format!("pickle of more than {MAX_OPS} instructions"))
    }

    fn empty_dict(&mut self) -> Result<(), String> {
        self.dicts.push(Vec::new());
        self.push(Value::Dict(self.dicts.len() - 1))
    }

    fn append(&mut self, values: Vec<Value>) -> Result<(), String> {
        let Some(&Value::List(list)) = self.stack.last() else {
            return Err("pickle appends to something that is no list".into());
        };
        self.lists[list].extend(values);
        Ok(())
    }

    /// `('storage', <type>, key, location, elements)`.
    fn storage(&self, id: &Value) -> Result<Value, String> {
        let parts = match id {
            Value::Tuple(t) => self.tuples[*t].as_slice(),
            _ => &[],
        };
        match parts {
            [
                Value::Scalar(Scalar::Text(tag)),
                Value::Global(Global::Storage(dtype)),
                Value::Scalar(Scalar::Text(key)),
                Value::Scalar(Scalar::Text(_location)),
                Value::Scalar(Scalar::Int(len)),
            ] if **tag == *"storage" && *len >= 0 => {
                // Bytes are counted in 64 bits with a sign, here and in libtorch.
                if len.checked_mul(bytes_each(*dtype) as i64).is_none() {
                    return Err(format!(
                        "a storage of {len} elements, more than can be counted in bytes"
                    ));
                }
                Ok(Value::Storage {
                    key: key.clone(),
                    dtype: *dtype,
                    len: *len as u64,
                })
            }
            _ => Err("its pickle refers to something that is no storage of numbers".into()),
        }
    }

    fn reduce(&mut self, callee: &Value, arguments: &Value) -> Result<(), String> {
        let &Value::Tuple(arguments) = arguments else {
            return Err("pickle calls without a tuple of arguments".into());
        };
        match callee {
            Value::Global(Global::OrderedDict) if self.tuples[arguments].is_empty() => {
                self.empty_dict()
            }
            Value::Global(Global::RebuildTensor) => {
                let tensor = self.tensor(&self.tuples[arguments])?;
                self.push(Value::Tensor(Rc::new(tensor)))
            }
            Value::Global(Global::RebuildParameter) => {
                let tensor = self.parameter(&self.tuples[arguments])?;
                self.push(Value::Tensor(tensor))
            }
            _ => {
                Err("its pickle calls something that builds no tensor; nothing was executed".into())
            }
        }
    }

    /// `(tensor, requires_grad, hooks)` of an `nn.Parameter`: the tensor itself.
    fn parameter(&self, arguments: &[Value]) -> Result<Rc<TensorDesc>, String> {
        match arguments {
            [
                Value::Tensor(tensor),
                Value::Scalar(Scalar::Bool(_)),
                Value::Dict(hooks),
            ] if self.dicts[*hooks].is_empty() => Ok(tensor.clone()),
            _ => Err("its pickle describes a parameter in a way that is not known".into()),
        }
    }

    /// `(storage, offset, size, stride, requires_grad, hooks)`.
    fn tensor(&self, arguments: &[Value]) -> Result<TensorDesc, String> {
        const BAD: &str = "its pickle describes a tensor in a way that is not known";
        let [
            Value::Storage { key, dtype, len },
            Value::Scalar(Scalar::Int(offset)),
            Value::Tuple(size),
            Value::Tuple(stride),
            Value::Scalar(Scalar::Bool(_)),
            Value::Dict(hooks),
        ] = arguments
        else {
            return Err(BAD.into());
        };
        let (shape, stride) = (self.sizes(*size)?, self.sizes(*stride)?);
        if shape.len() != stride.len() || shape.len() > 8 || !self.dicts[*hooks].is_empty() {
            return Err(BAD.into());
        }
        let offset = u64::try_from(*offset).map_err(|_| BAD)?;
        // The furthest element must lie inside the storage.
        let last = shape.iter().zip(&stride).try_fold(offset, |at, (&n, &s)| {
            at.checked_add(n.saturating_sub(1).checked_mul(s)?)
        });
        if !shape.contains(&0) && last.is_none_or(|at| at >= *len) {
            return Err(format!(
                "a tensor of shape {shape:?} reaches beyond its storage of {len} elements"
            ));
        }
        // Overlapping strides could claim far more elements than are stored.
        if numel(&shape).is_none_or(|n| n > *len) {
            return Err(format!(
                "a tensor of shape {shape:?} expands a storage of {len} elements"
            ));
        }
        Ok(TensorDesc {
            storage: key.clone(),
            dtype: *dtype,
            storage_len: *len,
            offset,
            shape,
            stride,
        })
    }

    fn sizes(&self, tuple: usize) -> Result<Vec<u64>, String> {
        self.tuples[tuple]
            .iter()
            .map(|v| match v {
                Value::Scalar(Scalar::Int(n)) if *n >= 0 => Ok(*n as u64),
                _ => Err("a tensor has a size that is no number".to_string()),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests;
