//! Numbers in texts, and which of them is the answer.
//!
//! # What is read as a number
//! Digits are ASCII `0` to `9`; digits of other scripts are passed over.
//!
//! | text | read as |
//! |---|---|
//! | `12`, `12 apples`, `12kg`, `25%` | 12, 12, 12, 25: units and the percent sign are not applied, nor are `k` and `million` |
//! | `1,000`, `80,000.50` | one number: a first group of one to three digits without a leading zero, then groups of three |
//! | `3,4`, `1234,567`, `10,20,300` | every group for itself, because not all of them fit |
//! | `$5.00`, `€5`, `\$5` | 5: currency signs `$ € £ ¥ ₹` are passed over |
//! | `.5`, `1.` | 0.5 and 1; a point counts as decimal only before a digit, and without a digit before it only after no letter, digit or point |
//! | `1.000,50`, `1.2.3` | 1.000 and 50; 1.2 and 3: the decimal comma is not known |
//! | `-7`, `−7` (U+2212), `-$7`, `$-7` | minus seven |
//! | `2-1`, `x-1`, `(2)-1`, `25%-1`, `--1`, `- 1` | 1: a minus right after a digit, a letter, a closing bracket, a percent sign or a minus is an operator or a dash, and so is one before a space |
//! | `3/4`, `1/3` | one number each: 0.75, and one that cannot be read, because it has no finite decimal form |
//! | `12/25/2023`, `5²`, `1¾` | one number that cannot be read |
//! | `1e3`, `2.5E-2` | 1000 and 0.025; the exponent has one to three digits and ends the word |
//! | `B12`, `x_2`, `0x1f`, `3x4`, `5_000` | none: digits after a letter or `_`, or before letters that run into digits or `_` |
//! | `3rd`, `21st` | none: an ordinal is no quantity |
//! | more than 36 digits on one side of the point or in all | one number that cannot be read |
//!
//! Letters are those of scripts with upper and lower case: `共18个` has the number 18. A list without spaces whose groups look
//! like thousands (`5,100`) is one number. Blanks end a number: `118 000` is two, and so is the mixed number `1 3/4`.
//!
//! A calculator mark as GSM8K's worked answers hold them (`<<16-3-4=9>>9`) is dropped when its result is repeated right after
//! it, and replaced by its result when it is not. A mark that the end of the line cuts off is dropped.
//!
//! # Which number is the answer
//! *Strict*: the number after the last `####`, on the same line, with nothing between but blanks, `*` and currency signs. What
//! follows does not matter, unless it makes the number part of a sum, a list, a time or a mixed number (`#### 3+4=7`,
//! `#### 3, 4`). An empty last marker is no answer, whatever an earlier one says.
//!
//! *Flexible*: the first of these that there is:
//! 1. a number right after the last `####` (of a sum its last number: `#### 3+4=7` gives 7);
//! 2. the last of the statements `answer is N`, `final answer: N` (of a sum its last number) and `\boxed{N}` (its last number;
//!    one with `\frac` cannot be read);
//! 3. the last number of the text.
//!
//! A number that cannot be read, where the answer is, gives `None`. It never makes another number the answer.

mod extract;
mod marks;
mod number;
mod scan;
#[cfg(test)]
mod table;

pub use extract::{Extraction, UnknownExtraction, extract, gold};
pub use number::{MAX_DIGITS, Number, ParseNumberError};
