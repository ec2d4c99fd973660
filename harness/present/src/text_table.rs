use harness_contract::sanitize::is_active;

/// Where text stands in its column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    Left,
    Right,
}

/// How a table is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Columns padded with spaces.
    Plain,
    /// GitHub's Markdown.
    Markdown,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TextTable {
    columns: Vec<(String, bool)>,
    rows: Vec<Vec<String>>,
}

impl TextTable {
    pub fn new(columns: &[(&str, Align)]) -> TextTable {
        let columns = columns
            .iter()
            .map(|(name, align)| ((*name).to_owned(), *align == Align::Right))
            .collect();
        TextTable {
            columns,
            rows: Vec::new(),
        }
    }

    /// Add a row; missing fields are empty, further ones are left out.
    pub fn row(&mut self, fields: Vec<String>) {
        self.rows.push(fields);
    }

    /// The table as text, each line ended.
    pub fn render(&self, style: Style) -> String {
        let cell =
            |row: &Vec<String>, i: usize| escape(row.get(i).map_or("", String::as_str), style);
        let width = |i: usize| {
            let longest = self
                .rows
                .iter()
                .map(|r| cell(r, i).chars().count())
                .max()
                .unwrap_or(0);
            longest.max(self.columns[i].0.chars().count()).max(3)
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let line = |fields: &dyn Fn(usize) -> String| {
            let padded: Vec<String> = (0..widths.len())
                .map(|i| {
                    let text = fields(i);
                    let pad = " ".repeat(widths[i].saturating_sub(text.chars().count()));
                    if self.columns[i].1 {
                        format!("{pad}{text}")
                    } else {
                        format!("{text}{pad}")
                    }
                })
                .collect();
            match style {
                Style::Plain => padded.join("  ").trim_end().to_owned() + "\n",
                Style::Markdown => format!("| {} |\n", padded.join(" | ")),
            }
        };
        let mut out = line(&|i| self.columns[i].0.clone());
        out += &line(&|i| match (style, self.columns[i].1) {
            (Style::Markdown, true) => format!("{}:", "-".repeat(widths[i] - 1)),
            _ => "-".repeat(widths[i]),
        });
        for row in &self.rows {
            out += &line(&|i| cell(row, i));
        }
        out
    }
}

/// Text from outside made harmless: no control or direction characters, and nothing that Markdown
/// takes for markup.
fn escape(text: &str, style: Style) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            c if is_active(c) => out.extend(c.escape_unicode()),
            '|' | '<' | '>' | '*' | '`' | '_' | '[' | ']' if style == Style::Markdown => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> TextTable {
        let mut table = TextTable::new(&[("name", Align::Left), ("C", Align::Right)]);
        table.row(vec!["dream".into(), "0.12 ± 0.03".into()]);
        table.row(vec!["x|y".into()]);
        table
    }

    #[test]
    fn plain_and_markdown() {
        assert_eq!(
            table().render(Style::Plain),
            "name             C\n-----  -----------\ndream  0.12 ± 0.03\nx|y\n"
        );
        assert_eq!(
            table().render(Style::Markdown),
            "| name  |           C |\n| ----- | ----------: |\n| dream | 0.12 ± 0.03 |\n| x\\|y  |             |\n"
        );
    }

    #[test]
    fn payloads_are_inert() {
        let mut table = TextTable::new(&[("text", Align::Left)]);
        table.row(vec!["\u{1b}[2J</script>\u{202e}abc".into()]);
        let plain = table.render(Style::Plain);
        assert!(
            !plain.contains('\u{1b}') && !plain.contains('\u{202e}'),
            "{plain}"
        );
        assert!(table.render(Style::Markdown).contains("\\</script\\>"));
    }
}
