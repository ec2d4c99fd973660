//! Plugins that the host must survive: each file of `examples` is one, written like any third-party
//! plugin.
//!
//! | plugin | what is wrong with it |
//! |---|---|
//! | `good` | nothing: it must be listed beside the others |
//! | `panics_in_constructor`, `panics_in_method` | a panic |
//! | `wrong_length` | a judge with too few answers, a metric with too many values |
//! | `unlawful` | a remasker that looks at other rows, a policy that steers at amp_factor 0 |
//! | `deaf` | a remasker that asks for SAE features and does not miss them |
//! | `aborts`, `aborts_on_open` | the process ends, in a method and while the library is opened |
//! | `culprits` | SAEs and decoding orders that do one of many things in one cell of a bench |
//! | `exports_nothing` | no `export_plugin!` |
