use harness_abi::{
    self as abi, AbiResult, DType, FeatureView, RemaskNeeds, RemaskerBox, StepView, TensorMut,
};

use crate::{
    Result, Value, View, ViewMut,
    bridge::{Bridge, expect, expect_mut},
};

/// What a remasker sees of one denoising step. Every view is `[b, t]` on the CPU; statistics not
/// asked for hold zeros, and are undefined where a position is not eligible.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// Step within the block of positions being decoded, from 0.
    pub step: usize,
    /// Steps of that block.
    pub n_steps: usize,
    /// How many sequences are run together, the `b` of shapes.
    pub batch: usize,
    /// Positions of a row.
    pub len: usize,
    /// The sequence before this step.
    pub tokens: &'a [i64],
    /// 1 where the position holds the mask token and may be revealed now.
    pub eligible: &'a [u8],
    /// The token that would be revealed.
    pub candidate: &'a [i64],
    /// Probability of the candidate.
    pub confidence: &'a [f32],
    /// Largest minus second largest probability.
    pub margin: &'a [f32],
    /// sum p·ln(p + 1e-10), nats.
    pub neg_entropy: &'a [f32],
    /// One draw in [0, 1) per position.
    pub uniform: &'a [f32],
}

/// How SAE features changed from the pass before to this one; both statistics are NaN where there
/// is no value: in the first pass of a run, and at positions the host does not track (the prompt,
/// padding).
#[derive(Clone, Copy, Debug)]
pub struct Features<'a> {
    /// The `step` of the [`Step`] that follows.
    pub step: usize,
    /// Blocks whose outputs are encoded, counted from 0 and ascending. `[l]`
    pub layers: &'a [i64],
    /// How many sequences are run together, the `b` of shapes.
    pub batch: usize,
    /// Positions of a row.
    pub len: usize,
    /// Jaccard index of the position's most active latents in this pass and in the pass before (Eq.
    /// 20), in [0, 1]. `[l, b, t]`
    pub jaccard: &'a [f32],
    /// 1 where the position's most active latent is that of the pass before, else 0. `[l, b, t]`
    pub top1_same: &'a [f32],
}

impl Features<'_> {
    /// The Jaccard index at the `layer`-th of `layers`; `None` where there is no value or no such
    /// place.
    #[must_use]
    pub fn jaccard_at(&self, layer: usize, row: usize, position: usize) -> Option<f32> {
        self.value(self.jaccard, layer, row, position)
    }

    /// Whether the most active latent is that of the pass before; `None` as for
    /// [`Features::jaccard_at`].
    #[must_use]
    pub fn top1_same_at(&self, layer: usize, row: usize, position: usize) -> Option<bool> {
        self.value(self.top1_same, layer, row, position)
            .map(|same| same > 0.5)
    }

    fn value(&self, of: &[f32], layer: usize, row: usize, position: usize) -> Option<f32> {
        if row >= self.batch || position >= self.len {
            return None;
        }
        let value = *of.get((layer * self.batch + row) * self.len + position)?;
        (!value.is_nan()).then_some(value)
    }
}

/// Decides which masked positions are revealed at each denoising step (Eq. 8).
///
/// Rows are independent: batching must change nothing.
pub trait Remasker: Send + 'static {
    /// A component of this name with its configuration.
    ///
    /// # Errors
    /// A configuration it does not understand.
    fn new(name: &str, config: &Value) -> Result<Self>
    where
        Self: Sized;

    /// Statistics the host must compute.
    fn needs(&self) -> RemaskNeeds;

    /// Starts a run (or a block of positions) of `n_steps` steps over `batch` rows.
    ///
    /// # Errors
    /// A number of steps it cannot do.
    fn begin(&mut self, n_steps: usize, batch: usize) -> Result<()>;

    /// Sets `reveal[row * len + position]` to 1 at positions to fill; it comes in as zeros.
    ///
    /// # Errors
    /// A step it was not started for.
    fn select(&mut self, step: &Step<'_>, reveal: &mut [u8]) -> Result<()>;

    /// Takes the statistics of SAE features; called before `select` of the same step when `needs`
    /// has [`RemaskNeeds::FEATURES`].
    ///
    /// A host of interface 1.0 never calls it: a remasker that depends on the features must fail in
    /// `select` when they did not come.
    ///
    /// # Errors
    /// Features that do not fit the run.
    fn features(&mut self, _features: &Features<'_>) -> Result<()> {
        Ok(())
    }
}

/// Wraps an author's remasker for the boundary.
pub fn boxed<T: Remasker>(name: &str, config: &Value) -> Result<RemaskerBox> {
    let bridge = Bridge::new(name, Box::new(T::new(name, config)?));
    Ok(RemaskerBox::from_value(
        bridge,
        abi_stable::sabi_trait::TD_Opaque,
    ))
}

impl<T: Remasker> abi::Remasker for Bridge<T> {
    fn needs(&self) -> RemaskNeeds {
        // A panic here must not cross the boundary; asking for nothing lets `select` report it.
        match self.with("needs", |remasker| Ok(remasker.needs())) {
            AbiResult::ROk(needs) => needs,
            AbiResult::RErr(_) => RemaskNeeds::NONE,
        }
    }

    fn begin(&mut self, n_steps: u64, batch: u64) -> AbiResult<()> {
        self.with_mut("begin", |remasker| {
            remasker.begin(usize::try_from(n_steps)?, usize::try_from(batch)?)
        })
    }

    fn select(&mut self, step: StepView<'_>, reveal: TensorMut<'_>) -> AbiResult<()> {
        self.with_mut("select", |remasker| {
            let tokens = View::new(step.tokens);
            expect("tokens", &tokens, &[-1, -1], &[DType::I64])?;
            let shape = tokens.shape();
            let read = |what, raw, dtype| {
                let view = View::new(raw);
                expect(what, &view, shape, &[dtype])?;
                Ok::<_, crate::Error>(view)
            };
            let mut reveal = ViewMut::new(reveal);
            expect_mut("reveal", &reveal, shape, &[DType::U8])?;
            let step = Step {
                step: usize::try_from(step.step)?,
                n_steps: usize::try_from(step.n_steps)?,
                batch: usize::try_from(shape[0])?,
                len: usize::try_from(shape[1])?,
                tokens: tokens.i64()?,
                eligible: read("eligible", step.eligible, DType::U8)?.u8()?,
                candidate: read("candidate", step.candidate, DType::I64)?.i64()?,
                confidence: read("confidence", step.confidence, DType::F32)?.f32()?,
                margin: read("margin", step.margin, DType::F32)?.f32()?,
                neg_entropy: read("neg_entropy", step.neg_entropy, DType::F32)?.f32()?,
                uniform: read("uniform", step.uniform, DType::F32)?.f32()?,
            };
            let reveal = reveal.u8()?;
            reveal.fill(0);
            remasker.select(&step, reveal)
        })
    }

    fn features(&mut self, view: FeatureView<'_>) -> AbiResult<()> {
        self.with_mut("features", |remasker| {
            let layers = View::new(view.layers);
            expect("layers", &layers, &[-1], &[DType::I64])?;
            let jaccard = View::new(view.jaccard);
            let wanted = [layers.shape()[0], -1, -1];
            expect("jaccard", &jaccard, &wanted, &[DType::F32])?;
            let shape = jaccard.shape();
            let top1_same = View::new(view.top1_same);
            expect("top1_same", &top1_same, shape, &[DType::F32])?;
            remasker.features(&Features {
                step: usize::try_from(view.step)?,
                layers: layers.i64()?,
                batch: usize::try_from(shape[1])?,
                len: usize::try_from(shape[2])?,
                jaccard: jaccard.f32()?,
                top1_same: top1_same.f32()?,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::Element;
    use harness_abi::{ErrorCode, Remasker as _};

    /// What a test asks of the features that came last.
    #[derive(Debug, PartialEq)]
    struct Seen {
        step: usize,
        layers: Vec<i64>,
        extent: (usize, usize),
        /// At the second layer, the first row and the third position.
        at_102: (Option<f32>, Option<bool>),
    }

    struct Reads(Option<Seen>);

    impl Remasker for Reads {
        fn new(_name: &str, _config: &Value) -> Result<Self> {
            Ok(Self(None))
        }

        fn needs(&self) -> RemaskNeeds {
            RemaskNeeds::FEATURES
        }

        fn begin(&mut self, _n_steps: usize, _batch: usize) -> Result<()> {
            Ok(())
        }

        fn select(&mut self, _step: &Step<'_>, _reveal: &mut [u8]) -> Result<()> {
            Ok(())
        }

        fn features(&mut self, f: &Features<'_>) -> Result<()> {
            self.0 = Some(Seen {
                step: f.step,
                layers: f.layers.to_vec(),
                extent: (f.batch, f.len),
                at_102: (f.jaccard_at(1, 0, 2), f.top1_same_at(1, 0, 2)),
            });
            Ok(())
        }
    }

    /// An author's remasker as the boundary has it.
    fn bridge<T: Remasker>() -> Bridge<T> {
        Bridge::new("x", Box::new(T::new("x", &Value::Null).unwrap()))
    }

    fn tensor<'a, T: Element>(data: &'a [T], shape: &'a [i64]) -> abi::TensorRef<'a> {
        abi::TensorRef {
            data: data.as_ptr().cast(),
            dtype: T::DTYPE,
            device: abi::Device::CPU,
            shape: shape.into(),
        }
    }

    #[test]
    fn features_arrive_by_layer_row_and_position() {
        let mut reads = bridge::<Reads>();
        let layers = [3_i64, 5];
        let jaccard: Vec<f32> = (0..12).map(|i| i as f32 / 12.0).collect(); // [2, 2, 3]
        let mut same = vec![0.0_f32; 12];
        same[8] = 1.0;
        let view = FeatureView {
            step: 4,
            layers: tensor(&layers, &[2]),
            jaccard: tensor(&jaccard, &[2, 2, 3]),
            top1_same: tensor(&same, &[2, 2, 3]),
        };
        assert!(matches!(reads.features(view), AbiResult::ROk(())));
        // Layer 1, row 0, position 2 is element (1 · 2 + 0) · 3 + 2 = 8.
        let seen = Seen {
            step: 4,
            layers: vec![3, 5],
            extent: (2, 3),
            at_102: (Some(8.0 / 12.0), Some(true)),
        };
        assert_eq!(reads.inner.0, Some(seen));
    }

    #[test]
    fn a_place_without_a_value_is_none() {
        let values = [0.5, f32::NAN, 0.0, 1.0, 0.25, 0.0]; // [1, 2, 3]
        let features = Features {
            step: 0,
            layers: &[7],
            batch: 2,
            len: 3,
            jaccard: &values,
            top1_same: &values,
        };
        assert_eq!(features.jaccard_at(0, 0, 0), Some(0.5));
        assert_eq!(features.jaccard_at(0, 1, 1), Some(0.25));
        assert_eq!(features.top1_same_at(0, 0, 2), Some(false));
        for (layer, row, position) in [(0, 0, 1), (1, 0, 0), (0, 2, 0), (0, 0, 3)] {
            assert_eq!(features.jaccard_at(layer, row, position), None);
            assert_eq!(features.top1_same_at(layer, row, position), None);
        }
    }

    #[test]
    fn features_of_another_shape_or_type_are_refused() {
        let (layers, values, wide) = ([3_i64, 5], [0.0_f32; 12], [0.0_f64; 12]);
        let good = FeatureView {
            step: 0,
            layers: tensor(&layers, &[2]),
            jaccard: tensor(&values, &[2, 2, 3]),
            top1_same: tensor(&values, &[2, 2, 3]),
        };
        let flat = tensor(&values, &[2, 6]);
        let layer = tensor(&values, &[1, 4, 3]);
        let other = tensor(&values, &[2, 3, 2]);
        let double = tensor(&wide, &[2, 2, 3]);
        let mut refused = 0;
        for jaccard in [flat, layer, double] {
            let view = FeatureView { jaccard, ..good };
            refused += usize::from(is_refused(&mut bridge::<Reads>(), view, "`jaccard`"));
        }
        for top1_same in [flat, other, double] {
            let view = FeatureView { top1_same, ..good };
            refused += usize::from(is_refused(&mut bridge::<Reads>(), view, "`top1_same`"));
        }
        assert_eq!(refused, 6);
    }

    fn is_refused(remasker: &mut Bridge<Reads>, view: FeatureView<'_>, names: &str) -> bool {
        match remasker.features(view) {
            AbiResult::ROk(()) => false,
            AbiResult::RErr(error) => {
                error.code == ErrorCode::INVALID_ARGUMENT
                    && error.message.contains(names)
                    && remasker.inner.0.is_none()
            }
        }
    }

    #[test]
    fn a_remasker_without_the_method_takes_features() {
        struct Plain;

        impl Remasker for Plain {
            fn new(_name: &str, _config: &Value) -> Result<Self> {
                Ok(Self)
            }

            fn needs(&self) -> RemaskNeeds {
                RemaskNeeds::NONE
            }

            fn begin(&mut self, _n_steps: usize, _batch: usize) -> Result<()> {
                Ok(())
            }

            fn select(&mut self, _step: &Step<'_>, _reveal: &mut [u8]) -> Result<()> {
                Ok(())
            }
        }

        let values = [0.0_f32; 2];
        let view = FeatureView {
            step: 0,
            layers: tensor(&[0_i64], &[1]),
            jaccard: tensor(&values, &[1, 1, 2]),
            top1_same: tensor(&values, &[1, 1, 2]),
        };
        assert!(matches!(
            bridge::<Plain>().features(view),
            AbiResult::ROk(())
        ));
    }
}
