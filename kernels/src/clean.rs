//! Cross-entropy of spliced logits and their divergence from the clean ones, in one sweep.

use tch::{Device, Kind, Tensor};

use crate::{
    KernelError, Result, check,
    exp::exp,
    host::{self, Element, numbers},
    pool,
    simd::{Level, levels},
    softmax::{BLOCK, LANES, Row, max_body, normalisers},
};

/// Most numbers taken to f64 at a time on a device.
const CHUNK_ELEMENTS: i64 = 1 << 26;

/// Tokens that rows of logits are measured against: checked once, and put where the logits are
/// once, so that no measurement waits to look at them.
#[derive(Debug)]
pub struct Targets {
    /// `[n] i64`, on the host and where the logits are.
    host: Tensor,
    here: Tensor,
    /// Tokens there are.
    vocab_size: i64,
}

impl Targets {
    /// Targets of `n` rows of logits over `vocab_size` tokens on a device.
    ///
    /// # Errors
    /// A target out of range, or libtorch.
    pub fn new(targets: &[i64], vocab_size: i64, device: Device) -> Result<Self> {
        if let Some(found) = targets.iter().find(|t| **t < 0 || **t >= vocab_size) {
            return Err(KernelError::Range {
                kernel: "Targets::new",
                operand: "targets",
                found: *found,
                expected: format!("0 to {}", vocab_size - 1),
            });
        }
        let host = Tensor::f_from_slice(targets)?;
        Ok(Self {
            here: host.f_to_device(device)?,
            host,
            vocab_size,
        })
    }

    /// Those of rows `start..start + len`.
    ///
    /// # Errors
    /// Rows that there are not.
    pub fn narrow(&self, start: i64, len: i64) -> Result<Self> {
        Ok(Self {
            host: self.host.f_narrow(0, start, len)?,
            here: self.here.f_narrow(0, start, len)?,
            vocab_size: self.vocab_size,
        })
    }

    /// Checks that they fit `logits: [n, v]`.
    fn check(&self, kernel: &'static str, n: i64, v: i64) -> Result<()> {
        check::shape(kernel, "targets", &self.host, &[n])?;
        if self.vocab_size <= v {
            return Ok(());
        }
        Err(KernelError::Shape {
            kernel,
            operand: "logits",
            found: vec![n, v],
            expected: format!("[{n}, {}], for which the targets are", self.vocab_size),
        })
    }
}

/// The clean distributions of `n` rows, kept to compare several spliced ones with.
///
/// The logits are held, not copied: `n · v` numbers stay alive with this value.
#[derive(Debug)]
pub struct CleanRows {
    /// `[n, v]`, f32 or bf16, contiguous.
    logits: Tensor,
    /// Largest logit and log of the sum of exponentials above it of each row, where the logits are
    /// on the host.
    rows: Vec<Row>,
}

impl CleanRows {
    /// Keeps `logits: [n, v]` and their normalisers.
    ///
    /// # Errors
    /// No matrix, no column, or libtorch.
    pub fn new(logits: &Tensor) -> Result<Self> {
        const NAME: &str = "CleanRows::new";
        let (n, v) = check::matrix(NAME, "logits", logits)?;
        if v < 1 {
            return Err(KernelError::Shape {
                kernel: NAME,
                operand: "logits",
                found: vec![n, v],
                expected: "[n, v] with at least one token".into(),
            });
        }
        let logits = host::plain(logits)?;
        let rows = if host::is_host(&logits) {
            numbers!(logits, slice => normalisers(slice, v as usize))
        } else {
            Vec::new()
        };
        Ok(Self { logits, rows })
    }

    /// Rows kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.logits.size()[0] as usize
    }

    /// True where no row is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Cross-entropy of each clean row in nats, where the logits are: `[n] f64`.
    ///
    /// On a CPU equal to what [`ce_kl_rows`] gives for the same logits, bit by bit.
    ///
    /// # Errors
    /// Another number of targets than rows, targets for more tokens, or libtorch.
    pub fn ce(&self, targets: &Targets) -> Result<Tensor> {
        const NAME: &str = "CleanRows::ce";
        let (n, v) = check::matrix(NAME, "logits", &self.logits)?;
        targets.check(NAME, n, v)?;
        if !host::is_host(&self.logits) {
            return Ok(self.on_device(&self.logits, targets)?.0);
        }
        let (v, targets) = (v as usize, host::slice::<i64>(&targets.host)?);
        let ce: Vec<f64> = numbers!(self.logits, logits => self
            .rows
            .iter()
            .zip(targets)
            .enumerate()
            .map(|(i, (row, &t))| row.log_sum_exp() - f64::from(logits[i * v + t as usize].f32()))
            .collect());
        host::tensor(&ce)
    }

    /// Both sums where the tensors are: a kernel of ours, or libtorch in f64.
    pub(crate) fn on_device(&self, logits: &Tensor, targets: &Targets) -> Result<(Tensor, Tensor)> {
        let (n, v) = check::matrix("ce_kl_rows", "logits", logits)?;
        let targets = targets.here.f_to_device(logits.device())?;
        #[cfg(feature = "cuda")]
        if let Some(both) = crate::cuda::compare(logits, &self.logits, &targets)? {
            return Ok(both);
        }
        let rows = (CHUNK_ELEMENTS / v.max(1)).max(1);
        let none = || Tensor::f_zeros([0], (Kind::Double, logits.device()));
        let (mut costs, mut divergences) = (vec![none()?], vec![none()?]);
        for start in (0..n).step_by(rows as usize) {
            let len = rows.min(n - start);
            let log_p = |t: &Tensor| t.f_narrow(0, start, len)?.f_log_softmax(-1, Kind::Double);
            let (clean, spliced) = (log_p(&self.logits)?, log_p(logits)?); // [len, v]
            let own =
                spliced.f_gather(1, &targets.f_narrow(0, start, len)?.f_unsqueeze(1)?, false)?;
            let p = clean.f_exp()?;
            let terms = p
                .f_mul(&clean.f_sub(&spliced)?)?
                .f_masked_fill(&p.f_eq(0)?, 0)?;
            costs.push(own.f_squeeze_dim(1)?.f_neg()?);
            divergences.push(terms.f_sum_dim_intlist(-1i64, false, Kind::Double)?);
        }
        Ok((Tensor::f_cat(&costs, 0)?, Tensor::f_cat(&divergences, 0)?))
    }
}

/// Cross-entropy of `logits: [n, v]`, and `KL(clean || spliced)`, both `[n] f64` in nats, where the
/// clean logits are.
///
/// Exponentials are f32, sums f64. The divergence is exactly 0 for equal bits and may be below 0 by
/// rounding (some 1e-8 times the largest difference of two logits), which is left so that means
/// stay unbiased. A token without clean probability adds nothing; one that only the clean row has
/// makes the divergence infinite. NaN gives NaN.
///
/// # Errors
/// Shapes that do not fit the kept rows, targets for more tokens, or libtorch.
pub fn ce_kl_rows(
    logits: &Tensor,
    targets: &Targets,
    clean: &CleanRows,
) -> Result<(Tensor, Tensor)> {
    const NAME: &str = "ce_kl_rows";
    check::shape(NAME, "logits", logits, &clean.logits.size())?;
    let (n, v) = check::matrix(NAME, "logits", logits)?;
    targets.check(NAME, n, v)?;
    if !host::is_host(logits) || !host::is_host(&clean.logits) {
        return clean.on_device(&logits.f_to_device(clean.logits.device())?, targets);
    }
    let (spliced, kept) = (host::plain(logits)?, &clean.logits);
    let (v, targets) = (v as usize, host::slice::<i64>(&targets.host)?);
    let (ce, kl) =
        numbers!(spliced, s => numbers!(kept, c => compare(s, c, &clean.rows, targets, v)));
    Ok((host::tensor(&ce)?, host::tensor(&kl)?))
}

fn compare<S: Element, C: Element>(
    spliced: &[S],
    clean: &[C],
    rows: &[Row],
    targets: &[i64],
    v: usize,
) -> (Vec<f64>, Vec<f64>) {
    let level = Level::current();
    let (mut ce, mut kl) = (vec![0.0; rows.len()], vec![0.0; rows.len()]);
    let tasks: Vec<_> = ce
        .chunks_mut(BLOCK)
        .zip(kl.chunks_mut(BLOCK))
        .enumerate()
        .collect();
    pool::run(tasks, spliced.len() * 2, |(block, (ce, kl))| {
        for (i, (ce, kl)) in ce.iter_mut().zip(kl).enumerate() {
            let i = block * BLOCK + i;
            let (s, c) = (&spliced[i * v..(i + 1) * v], &clean[i * v..(i + 1) * v]);
            let (own, moved) = row_sums(level, s, c, rows[i].max);
            *ce = own.log_sum_exp() - f64::from(s[targets[i] as usize].f32());
            *kl = moved / rows[i].sum - (rows[i].log_sum_exp() - own.log_sum_exp());
        }
    });
    (ce, kl)
}

levels! {
    /// Normaliser of the spliced row, and the sum of `exp(clean - max) · (clean - spliced)`.
    fn row_sums<S: Element, C: Element>(spliced: &[S], clean: &[C], clean_max: f32) -> (Row, f64) = sums_body;
}

#[inline(always)]
fn sums_body<S: Element, C: Element>(spliced: &[S], clean: &[C], clean_max: f32) -> (Row, f64) {
    let max = max_body(spliced);
    let (mut sums, mut moved) = ([0.0f64; LANES], [0.0f64; LANES]);
    let (chunks, cleans) = (spliced.chunks_exact(LANES), clean.chunks_exact(LANES));
    let rest = chunks.remainder().iter().zip(cleans.remainder());
    for (chunk, clean) in chunks.zip(cleans) {
        for lane in 0..LANES {
            let (s, c) = (chunk[lane].f32(), clean[lane].f32());
            sums[lane] += f64::from(exp(s - max));
            moved[lane] += term(exp(c - clean_max), c, s);
        }
    }
    for ((sum, moved), (s, c)) in sums.iter_mut().zip(&mut moved).zip(rest) {
        *sum += f64::from(exp(s.f32() - max));
        *moved += term(exp(c.f32() - clean_max), c.f32(), s.f32());
    }
    (
        Row {
            max,
            sum: sums.iter().sum(),
        },
        moved.iter().sum(),
    )
}

/// `weight · (clean - spliced)`; 0 without weight, also where a logit is infinite.
#[inline(always)]
fn term(weight: f32, clean: f32, spliced: f32) -> f64 {
    let product = f64::from(weight) * f64::from(clean - spliced);
    if weight == 0.0 { 0.0 } else { product }
}
