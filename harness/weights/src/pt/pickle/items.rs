//! The items of the dictionary that a pickle has built, with those of dictionaries inside it.

use super::{Item, Machine, Scalar, Value, printable};

/// Dictionaries inside each other that are looked into.
const MAX_DEPTH: usize = 4;
/// Dictionaries looked into; a pickle may put one into itself.
const MAX_DICTS: usize = 256;
/// Keys under which trainers keep the weights of a checkpoint.
const WEIGHTS: [&str; 8] = [
    "state_dict",
    "model_state_dict",
    "model",
    "ae",
    "sae",
    "autoencoder",
    "dictionary",
    "weights",
];
/// What trainers keep beside the weights to go on with: it says nothing of what an SAE computes.
const BESIDE: [&str; 26] = [
    "optimizer",
    "optimizer_state",
    "optimizer_state_dict",
    "optimizer_states",
    "optim",
    "scheduler",
    "scheduler_state_dict",
    "lr_scheduler",
    "lr_scheduler_state_dict",
    "lr_schedulers",
    "scaler",
    "grad_scaler",
    "epoch",
    "step",
    "steps",
    "global_step",
    "iteration",
    "loss",
    "metrics",
    "rng_state",
    "config",
    "cfg",
    "args",
    "hparams",
    "hyper_parameters",
    "pytorch-lightning_version",
];
/// Bytes of an item's name. Longer ones would be copied for every item of a nested dictionary.
const MAX_NAME: usize = 1024;

impl Machine<'_> {
    /// Items of a dictionary and of those inside it. Of a trainer's checkpoint, what it keeps
    /// beside the weights is not looked at.
    pub(super) fn collect(
        &mut self,
        dict: usize,
        prefix: &str,
        depth: usize,
        out: &mut Vec<(String, Item)>,
    ) -> Result<(), String> {
        self.n_collected += 1;
        if depth > MAX_DEPTH || self.n_collected > MAX_DICTS {
            return Err(format!(
                "dictionaries inside each other, more than {MAX_DEPTH} deep or {MAX_DICTS} in all"
            ));
        }
        let is_checkpoint = self.is_checkpoint(dict);
        for (key, value) in self.dicts[dict].clone() {
            let Value::Scalar(Scalar::Text(key)) = key else {
                return Err("its dictionary has a key that is no text".into());
            };
            if is_checkpoint && BESIDE.contains(&&*key) {
                continue;
            }
            let name = format!("{prefix}{key}");
            if name.len() > MAX_NAME {
                let (found, name) = (name.len(), printable(&name));
                return Err(format!(
                    "a name of {found} bytes, limit {MAX_NAME}: `{name}`"
                ));
            }
            if out.iter().any(|(n, _)| *n == name) {
                return Err(format!("`{}` is there twice", printable(&name)));
            }
            match value {
                Value::Tensor(t) => out.push((name, Item::Tensor(t))),
                Value::Scalar(s) => out.push((name, Item::Scalar(s))),
                Value::Dict(inner) => {
                    out.push((name.clone(), Item::Dict));
                    self.collect(inner, &format!("{name}."), depth + 1, out)?;
                }
                _ => {
                    return Err(format!(
                        "`{}` is neither tensor, number nor word",
                        printable(&name)
                    ));
                }
            }
            if out.len() > 256 {
                return Err("more than 256 items, an SAE has some ten".into());
            }
        }
        Ok(())
    }

    /// Whether a dictionary is a trainer's checkpoint: no tensors of its own, and one inside that
    /// holds the weights.
    fn is_checkpoint(&self, dict: usize) -> bool {
        let items = &self.dicts[dict];
        let has_tensor = items
            .iter()
            .any(|(_, value)| matches!(value, Value::Tensor(_)));
        let is_weights = |(key, value): &(Value, Value)| {
            let (Value::Scalar(Scalar::Text(key)), Value::Dict(_)) = (key, value) else {
                return false;
            };
            WEIGHTS.contains(&&**key)
        };
        !has_tensor && items.iter().any(is_weights)
    }
}
