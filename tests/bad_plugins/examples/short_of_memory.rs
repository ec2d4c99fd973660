//! Decoding orders that run out of memory where a batch has more than one row, or whatever it has.

use harness_sdk::{Error, ErrorCode, RemaskNeeds, Remasker, Result, Step, Value};

struct LeftToRight {
    most: usize,
}

impl Remasker for LeftToRight {
    fn new(name: &str, _config: &Value) -> Result<Self> {
        let most = match name {
            "fits-one-row" => 1,
            _ => 0,
        };
        Ok(Self { most })
    }

    fn needs(&self) -> RemaskNeeds {
        RemaskNeeds::NONE
    }

    fn begin(&mut self, _n_steps: usize, batch: usize) -> Result<()> {
        match batch > self.most {
            true => Err(Error::new(
                ErrorCode::OUT_OF_MEMORY,
                format!("no memory for {batch} rows"),
            )),
            false => Ok(()),
        }
    }

    fn select(&mut self, step: &Step<'_>, reveal: &mut [u8]) -> Result<()> {
        for row in 0..step.batch {
            let span = row * step.len..(row + 1) * step.len;
            let left = step.eligible[span.clone()].iter().filter(|&&e| e == 1);
            let due = left.count().div_ceil(step.n_steps - step.step);
            let eligible = span.filter(|&i| step.eligible[i] == 1);
            for position in eligible.take(due) {
                reveal[position] = 1;
            }
        }
        Ok(())
    }
}

harness_sdk::export_plugin! {
    id: "short-of-memory",
    components: [
        remasker "fits-one-row" => LeftToRight: "has memory for one row",
        remasker "fits-nothing" => LeftToRight: "has memory for none",
    ]
}
