//! Decoding orders of the Dream and LLaDA samplers (Eq. 8): which masked positions a denoising step
//! fills.
//!
//! | component | schedule | order |
//! |---|---|---|
//! | `origin` | Dream, a draw per position | none |
//! | `maskgit_plus`, `topk_margin`, `entropy` | Dream, counts | largest statistic first |
//! | `low_confidence`, `random` | LLaDA, equal counts | largest probability, largest draw first |
//!
//! Every row is scheduled by its own masks, so that a batch changes nothing. (Dream's reference
//! code takes the mean over the batch, which is the same for rows with as many masks.) Equal
//! statistics go to the lower position.

mod dream;
mod llada;

pub use dream::Dream;
pub use llada::Llada;

harness_sdk::export_plugin! {
    id: "orders",
    components: [
        remasker "origin" => Dream: "Dream: every masked position by its own draw",
        remasker "maskgit_plus" => Dream: "Dream: largest probability first",
        remasker "topk_margin" => Dream: "Dream: largest margin between the two best tokens first",
        remasker "entropy" => Dream: "Dream: lowest entropy first",
        remasker "low_confidence" => Llada: "LLaDA: largest probability first, equal counts",
        remasker "random" => Llada: "LLaDA: positions at random, equal counts",
    ]
}
