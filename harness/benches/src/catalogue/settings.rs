use harness_plan::bench::{KindDeclaration, KindSettings, TableDeclaration};

/// What SAE sets are (Table 1).
pub const SETS: &str = "table1";
/// What training SAE sets took (Table 3).
pub const TRAINING: &str = "table3";

/// A catalogue bench lists SAE sets as their files are. It runs nothing and so can be told nothing.
pub static KIND: KindDeclaration = KindDeclaration {
    settings: KindSettings {
        name: "catalogue",
        article: "a",
        lists: &[],
    },
    summary: "table1, table3: what SAE sets are; nothing is run",
    examples: &[],
    text: None,
    tables: &[
        TableDeclaration::table(SETS),
        TableDeclaration::table(TRAINING),
    ],
};
