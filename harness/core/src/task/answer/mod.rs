//! Numbers in texts, and which of them is the answer.
//!
//! # What is read as a number
//! Digits are ASCII `0` to `9`; digits of other scripts are passed over, and so are numbers in
//! words (`twelve`, `two dozen`).
//!
//! | text | read as |
//! |---|---|
//! | `12`, `12 apples`, `12kg`, `25%`, `18 cm^2` | 12, 12, 12, 25, 18: units with their exponents and the percent sign are not applied, nor are `k` and `million` |
//! | `1,000`, `80,000.50` | one number: a first group of one to three digits without a leading zero, then groups of three |
//! | `10 000`, `1'234` | the same with blanks of any width, or apostrophes, between all groups; `180 180` is 180 said twice |
//! | `3,4`, `1234,567`, `10,20,300`, `10 20 300` | every group for itself, because not all of them fit |
//! | `$5.00`, `€5`, `\$5` | 5: currency signs are passed over |
//! | `.5`, `1.` | 0.5 and 1; a point counts as decimal only before a digit, and without a digit before it only after no letter, digit or point |
//! | `1.000,50`, `1.2.3` | 1.000 and 50; 1.2 and 3: the decimal comma is not known, and what is joined so is no single number |
//! | `-7`, `−7` (U+2212), `-$7`, `$-7`, `negative 7` | minus seven |
//! | `2-1`, `x-1`, `(2)-1`, `25%-1`, `--1`, `- 1` | 1: a minus right after a digit, a letter, a closing bracket, a percent sign or a minus is an operator or a dash, and so is one before a space |
//! | `3/4`, `1/3` | one number each: 0.75, and one that cannot be read, because it has no finite decimal form |
//! | `3 1/2`, `3 and 1/2`, `3½` | 3.5: an integer and a fraction below 1 are a mixed number |
//! | `12/25/2023`, `5²`, `5^2`, `±5`, `√2` | one number that cannot be read |
//! | `1e3`, `2.5E-2`, `2.5 × 10^3`, `2·10³` | 1000, 0.025, 2500, 2000; an exponent has one to three digits and ends the word; `10^3` alone cannot be read |
//! | `B12`, `x_2`, `0x1f`, `3x4`, `5_000` | none: digits after a letter or `_`, or before letters that run into digits or `_` |
//! | `3rd`, `21st` | none: an ordinal is no quantity |
//! | more than 36 digits on one side of the point or in all | one number that cannot be read |
//!
//! Letters are those of scripts with upper and lower case: `共18个` has the number 18. A list without
//! spaces whose groups look like thousands (`5,100`) is one number, and so are numbers with one
//! blank between whose digits do (`5 100`).
//!
//! LaTeX is read as what it shows: `1{,}234`, `1,\!234` and `1\,234` are 1234, `\dfrac{1}{2}` and
//! `\frac12` are 1/2, `\text{ dollars}` is its words, `\times` is `×`. A root, or a fraction of
//! anything but numbers, cannot be read.
//!
//! A calculator mark as GSM8K's worked answers hold them (`<<16-3-4=9>>9`) is dropped when its
//! result is repeated right after it, and replaced by its result when it is not. A mark that the
//! end of the line cuts off is dropped.
//!
//! # Which number is the answer
//! *Strict*: the number after the last `####`, on the same line, with nothing between but blanks,
//! `*` and currency signs. What follows does not matter, unless it makes the number part of a sum,
//! a list, a range, a time or an alternative (`#### 3+4=7`, `#### 3, 4`, `#### 3 or 4`). An empty
//! last marker is no answer, whatever an earlier one says.
//!
//! *Flexible*: the first of these that there is:
//! 1. what is offered right after the last `####`;
//! 2. what is offered by the last of the statements `answer is N`, `final answer: N` and
//!    `\boxed{N}`. Between the words and the number there may be signs, `x =`, and words such as
//!    `about` or `equal to`. `answer: N` counts too, where N with at most a unit ends its sentence;
//! 3. the last number of the text, with the expression that it ends.
//!
//! What is *offered* at a place begins with its first number and goes on over what is joined to it:
//! * of a chain of equals signs the last side that is one number: `16 - 3 = 13`, `18 = 16 + 2`, `16
//!   eggs - 3 eggs = 13 eggs`;
//! * a sum without a result, a range (`3-4`, `3 to 4`), a time or ratio (`10:30`), `3,4` and
//!   different numbers with a blank between are no single number: no answer;
//! * different numbers with `or` between are no answer;
//! * numbers with a comma, `and` or a spaced long dash between are a list, and no answer when they
//!   differ, where the sentence or line ends with them; where words follow, a new clause begins
//!   with the number after the comma: `18, 2 more than 16` is 18;
//! * any other word ends it: of `7 apples in 2 boxes` it is 7. In a box different numbers are no
//!   answer all the same.
//!
//! In rule 3 commas, `and` and `to` join nothing: it is the last number that counts.
//!
//! A number that cannot be read, where the answer is, gives `None`. It never makes another number
//! the answer.
//!
//! *Gold* answers are read strictly, and the line of the marker may hold no other number.

mod extract;
mod marks;
mod notation;
mod number;
mod offer;
mod scan;
#[cfg(test)]
mod table;

pub use extract::{Extraction, UnknownExtraction, extract, gold};
pub use number::{MAX_DIGITS, Number, ParseNumberError};
