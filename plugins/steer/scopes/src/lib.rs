//! The paper's steering scopes: the set s_k of Eq. 13, as a coefficient `amp_factor` at the chosen
//! positions.

mod scope;
mod select;

pub use scope::Scope;

harness_sdk::export_plugin! {
    id: "scopes",
    components: [
        steering "all-tokens" => Scope: "every position, prompt included",
        steering "update-tokens" => Scope: "positions that hold the mask token in this pass",
        steering "topk-tokens" => Scope: "the k positions where the steered latent is most active in this pass",
    ]
}
