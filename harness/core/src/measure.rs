/// What a value of a table of values measures: what its `metric` stands for. The reference page of
/// all columns lists the measures of such a table below its columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measure {
    /// `metric` of a row.
    pub name: &'static str,
    /// `variant` of a row, or what it is put together from; empty where there are no variants.
    pub variant: &'static str,
    /// Empty for a plain number.
    pub unit: &'static str,
    pub definition: &'static str,
}
