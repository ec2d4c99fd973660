//! `harness zoo text`: the documents that the embedded models were trained on and are measured on.

use clap::{Args, Subcommand};
use harness_contract::exit;
use harness_data::{Split, documents, topic, topic_names};

use crate::{failure::Failure, output};

#[derive(Args, Debug)]
pub struct ZooArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Debug)]
enum What {
    /// Print documents of the text generator with their labels, one JSON object a line
    Text(TextArgs),
}

#[derive(Args, Debug)]
struct TextArgs {
    /// train or heldout
    #[arg(long, default_value = "heldout", value_parser = split)]
    split: Split,
    /// Only documents of this topic
    #[arg(long)]
    topic: Option<String>,
    /// Another seed gives other documents
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How many
    #[arg(long, value_name = "K")]
    n: u64,
}

fn split(name: &str) -> Result<Split, String> {
    Split::from_name(name).ok_or_else(|| "must be train or heldout".to_owned())
}

pub fn run(args: &ZooArgs) -> Result<u8, Failure> {
    let What::Text(args) = &args.what;
    let wanted = match &args.topic {
        None => None,
        Some(name) => match topic(name) {
            Some(topic) => Some(topic),
            None => {
                let hint = harness_core::suggest::hint(name, topic_names());
                let message = format!("no topic is called `{name}`");
                return Err(Failure::new(exit::USAGE, message).hint(hint));
            }
        },
    };
    for document in documents(args.split, args.seed, args.n, wanted) {
        let line = serde_json::to_string(&document)
            .map_err(|error| Failure::new(exit::UNEXPECTED, error.to_string()))?;
        output::result(&line)?;
    }
    Ok(exit::OK)
}
