//! Inputs as people have them: each test stands for a kind of file or server that once gave a wrong
//! number, a lost hour or an unhelpful refusal. README.md beside this file lists the kinds.
mod checkpoints;
mod judges;
mod numbers;
mod runs;
mod sae_sets;
mod text_files;
mod tokenizers;
