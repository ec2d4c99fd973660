//! `harness generate`: continue a text, and show what each denoising step reveals.

use std::path::{Path, PathBuf};

use clap::Args;
use harness_contract::{
    exit,
    jobs::{Event, GenerateJob, Job},
};
use harness_supervise::{Ended, run_job};
use harness_weights::{check_checkpoint, not_a_folder};
use serde_json::{Map, Value, json};

use crate::{
    args::{self, ComputeArgs, PluginDirs},
    failure::Failure,
    output,
    root::Root,
};

/// Continue a text, and show what each denoising step reveals.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  harness generate --model dream --prompt 'She said that' --order entropy --steps 30 --show-steps --plugins ./plugins"
)]
pub struct GenerateArgs {
    /// Checkpoint folder, or the name of an embedded model
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// The text to continue
    #[arg(long)]
    prompt: String,
    #[command(flatten)]
    plugins: PluginDirs,
    /// Give the prompt as a user's message in the checkpoint's chat format
    #[arg(long)]
    chat: bool,
    /// Order in which masked positions are revealed: origin, maskgit_plus, topk_margin, entropy,
    /// low_confidence, random [default: the family's]
    #[arg(long)]
    order: Option<String>,
    /// Temperature of the order itself (Dream's alg_temp)
    #[arg(long, value_name = "T")]
    alg_temp: Option<f64>,
    /// Denoising steps [default: one a token]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    steps: Option<u32>,
    /// Tokens to generate
    #[arg(long, default_value_t = 30, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_new_tokens: u32,
    /// Tokens of a block, blocks from left to right [default: all at once]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    block_length: Option<u32>,
    /// Sampling temperature; 0 takes the most probable token
    #[arg(long, default_value_t = 0.7, value_name = "T")]
    temperature: f64,
    /// Sample from the most probable tokens that reach this share
    #[arg(long, value_name = "P")]
    top_p: Option<f64>,
    /// Sample from so many most probable tokens
    #[arg(long, value_name = "N")]
    top_k: Option<u32>,
    /// Classifier-free guidance
    #[arg(long, default_value_t = 0.0, value_name = "W")]
    cfg_scale: f64,
    /// Seed of all draws
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// Show what each step reveals
    #[arg(long)]
    show_steps: bool,
    /// One JSON object: text, tokens, steps
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    compute: ComputeArgs,
    /// Go on with weights that hold NaN or infinity
    #[arg(long)]
    allow_nan: bool,
}

pub fn run(args: &GenerateArgs) -> Result<u8, Failure> {
    let job = Job::Generate(GenerateJob {
        model: model_dir(&args.model)?,
        plugins: args.plugins.to_open()?,
        prompt: args.prompt.clone(),
        chat: args.chat,
        order: args.order.clone(),
        order_config: match args.alg_temp {
            Some(alg_temp) => json!({ "alg_temp": alg_temp }),
            None => Value::Object(Map::new()),
        },
        steps: args.steps,
        max_new_tokens: args.max_new_tokens,
        block_length: args.block_length,
        temperature: args.temperature,
        top_p: args.top_p,
        top_k: args.top_k,
        cfg_scale: args.cfg_scale,
        seed: args.seed,
        show_steps: args.show_steps,
        allow_nan: args.allow_nan,
        compute: args.compute.compute(),
    });
    let mut failure = None;
    let ended = run_job::<Failure>(&args.compute.launch()?, &job, |event| {
        match event {
            Event::Result { value } if args.json => output::result(&value.to_string())?,
            Event::Result { value } => output::result(&render(&args.prompt, &value))?,
            Event::Failed(why) => failure = Some(why),
            Event::Log { message, .. } => output::talk(&message),
            Event::Progress { .. } => {}
        }
        Ok(())
    })?;
    match (failure, ended) {
        (Some(failure), _) => Err(failure.into()),
        (None, Ended::Died(message)) => Err(Failure::new(exit::UNEXPECTED, message)),
        (None, Ended::Code(code)) => Ok(code),
    }
}

/// A folder, or the folder of an embedded model by name. Its weight files are whole, as far as
/// their headers tell.
///
/// # Errors
/// When there is neither, or a weight file is damaged: that is found here before a worker is
/// started.
pub fn model_dir(named: &Path) -> Result<PathBuf, Failure> {
    let named = args::expanded(named);
    if named.is_dir() {
        for warning in check_checkpoint(&named)? {
            output::warn(&warning);
        }
        return Ok(named);
    }
    let message = format!("--model {}: {}", named.display(), not_a_folder(&named));
    let missing = Failure::new(exit::BAD_INPUT, message);
    let is_name = named.components().count() == 1 && !named.is_file();
    let (Some(name), true) = (named.to_str(), is_name) else {
        return Err(missing);
    };
    let zoo = Root::find()?.zoo();
    let embedded = zoo.join(name);
    if embedded.join("config.json").is_file() {
        return Ok(embedded);
    }
    let names = super::list::model_names(&zoo);
    let hint = harness_core::suggest::hint(name, names.iter().map(String::as_str));
    Err(missing.hint(format!("among the embedded models, {hint}")))
}

fn render(prompt: &str, value: &Value) -> String {
    let mut out = String::new();
    for step in value["steps"].as_array().into_iter().flatten() {
        let revealed: Vec<String> = step["revealed"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|r| {
                let token = r["token"]
                    .as_str()
                    .map_or_else(|| r["token"].to_string(), str::to_owned);
                format!("{}:{:?}", r["position"], token)
            })
            .collect();
        let text = step["text"].as_str().unwrap_or_default().replace('\n', "⏎");
        out.push_str(&output::sanitize(&format!(
            "step {:>3}  {}\n          {text}\n",
            step["step"],
            revealed.join(" ")
        )));
    }
    if !out.is_empty() {
        out.push('\n');
    }
    out.push_str(&output::sanitize(prompt));
    out.push_str(&output::sanitize(
        value["text"].as_str().unwrap_or_default(),
    ));
    out
}
