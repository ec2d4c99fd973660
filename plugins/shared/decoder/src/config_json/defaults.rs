/// What a family's own configuration code takes for a size or an id that config.json leaves out.
///
/// `qwen2`, `llama` and `gpt2` are transformers' classes, `Dream` and `llada` those that are
/// published with the models.
pub fn default_size(model_type: &str, key: &str) -> Option<u64> {
    let known: &[(&str, u64)] = match model_type {
        "qwen2" | "Dream" => &[
            ("vocab_size", 151_936),
            ("hidden_size", 4096),
            ("intermediate_size", 22_016),
            ("num_hidden_layers", 32),
            ("num_attention_heads", 32),
            ("num_key_value_heads", 32),
            ("max_position_embeddings", 32_768),
            ("sliding_window", 4096),
            ("max_window_layers", 28),
        ],
        "llama" => &[
            ("vocab_size", 32_000),
            ("hidden_size", 4096),
            ("intermediate_size", 11_008),
            ("num_hidden_layers", 32),
            ("num_attention_heads", 32),
            ("max_position_embeddings", 2048),
            ("eos_token_id", 2),
        ],
        "gpt2" => &[
            ("vocab_size", 50_257),
            ("n_embd", 768),
            ("n_layer", 12),
            ("n_head", 12),
            ("n_positions", 1024),
            ("eos_token_id", 50_256),
        ],
        "llada" => &[
            ("vocab_size", 50_257),
            ("embedding_size", 50_304),
            ("d_model", 768),
            ("n_layers", 12),
            ("n_heads", 12),
            ("mlp_ratio", 4),
            ("max_sequence_length", 1024),
        ],
        _ => &[],
    };
    let of_dream = (model_type == "Dream" && key == "mask_token_id").then_some(151_666);
    let listed = known.iter().find(|(name, _)| *name == key);
    listed.map(|(_, size)| *size).or(of_dream)
}
