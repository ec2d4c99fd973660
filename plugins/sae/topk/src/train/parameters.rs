//! The tensors that training changes.

use tch::Tensor;

/// What is learnt; rows of `w_enc` and `w_dec` belong to latents.
#[derive(Debug)]
pub(super) struct Parameters {
    /// `[d_sae, d_model]`.
    pub w_enc: Tensor,
    /// `[d_sae]`.
    pub b_enc: Tensor,
    /// `[d_sae, d_model]`, unit rows.
    pub w_dec: Tensor,
    /// `[d_model]`.
    pub b_dec: Tensor,
}

impl Parameters {
    /// Names in files, in the order of [`Self::each`].
    pub(super) const NAMES: [&'static str; 4] = ["w_enc", "b_enc", "w_dec", "b_dec"];

    pub(super) fn each(&self) -> [&Tensor; 4] {
        [&self.w_enc, &self.b_enc, &self.w_dec, &self.b_dec]
    }

    pub(super) fn each_mut(&mut self) -> [&mut Tensor; 4] {
        [
            &mut self.w_enc,
            &mut self.b_enc,
            &mut self.w_dec,
            &mut self.b_dec,
        ]
    }
}
