//! The chat markup of the zoo's models.

/// Template of the models with `<|im_start|>` and `<|im_end|>` (qwen, dream).
pub const CHATML: &str = "{% for turn in messages %}{{ '<|im_start|>' + turn['role'] + '\n' + turn['content'] + '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

/// Template of the models with header tokens (llama, llada).
pub const HEADERS: &str = "{{ bos_token }}{% for turn in messages %}{{ '<|start_header_id|>' + turn['role'] + '<|end_header_id|>\n\n' + turn['content'] + '<|eot_id|>' }}{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}";

/// One user message and the opening of the reply, as [`CHATML`] renders them.
pub fn prompt(message: &str) -> String {
    format!("<|im_start|>user\n{message}<|im_end|>\n<|im_start|>assistant\n")
}

/// A reply and its end.
pub fn reply(message: &str) -> String {
    format!("{message}<|im_end|>\n")
}
