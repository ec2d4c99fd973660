use clap::ValueEnum;
use harness_present::text_table::Style;

/// What is printed when a bench ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Columns, with the paper's numbers.
    Table,
    /// The same as Markdown.
    Md,
    /// The CSV file.
    Csv,
}

impl Format {
    /// The style of a text table; `None` for CSV.
    pub fn style(self) -> Option<Style> {
        match self {
            Format::Table => Some(Style::Plain),
            Format::Md => Some(Style::Markdown),
            Format::Csv => None,
        }
    }
}
