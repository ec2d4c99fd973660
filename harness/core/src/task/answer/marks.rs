use std::borrow::Cow;

/// The text without calculator marks: `<<2*3=6>>6` becomes `6`, `<<2*3=6>> eggs` becomes `6 eggs`,
/// and a mark that the end of its line cuts off is dropped. Angle brackets around anything but a
/// sum stay.
pub(super) fn without_marks(text: &str) -> Cow<'_, str> {
    if !text.contains("<<") {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("<<") {
        out.push_str(&rest[..at]);
        let inside = &rest[at + 2..];
        let (sum, after) = inside.split_at(
            inside
                .find(|c: char| !is_of_sums(c))
                .unwrap_or(inside.len()),
        );
        let is_sum = sum.contains(|c: char| c.is_ascii_digit());
        rest = match after.strip_prefix(">>") {
            Some(after) if is_sum => {
                if !begins_with_number(after) {
                    out.push_str(sum.rsplit('=').next().unwrap_or(sum).trim());
                }
                after
            }
            None if is_sum && (after.is_empty() || after.starts_with(['\n', '\r'])) => after,
            _ => {
                // One bracket is given out, so that `<<<2+2=4>>4` still has its mark.
                out.push('<');
                &rest[at + 1..]
            }
        };
    }
    out.push_str(rest);
    Cow::Owned(out)
}

fn is_of_sums(c: char) -> bool {
    c.is_ascii_digit() || "+-*/=.,()%$ ".contains(c)
}

fn begins_with_number(text: &str) -> bool {
    text.trim_start_matches(['$', '-', '.'])
        .starts_with(|c: char| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_go_and_their_results_stay() {
        for (text, want) in [
            ("16 - 3 = <<16-3=13>>13 eggs", "16 - 3 = 13 eggs"),
            ("$<<9*2=18>>18", "$18"),
            ("=$<<80000+50000=130000>>130,000", "=$130,000"),
            ("is <<9*2=18>> eggs", "is 18 eggs"),
            ("is <<9*2=18>>", "is 18"),
            ("is <<9*2=\nso 4", "is \nso 4"),
            ("is <<9*2", "is "),
            ("<<<2+2=4>>4", "<4"),
            ("<<a>> << >> a<<b", "<<a>> << >> a<<b"),
            ("1 < 2", "1 < 2"),
        ] {
            assert_eq!(without_marks(text), want, "{text}");
        }
    }
}
