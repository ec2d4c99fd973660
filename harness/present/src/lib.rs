//! How results are shown, whatever they are results of: aligned text, CSV, figures, and the
//! comparison of two CSV files. Knows no bench and no store.

pub mod compare;
mod csv;
pub mod figure;
pub mod text_table;

pub use csv::csv_text;
