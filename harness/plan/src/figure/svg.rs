//! A figure as an SVG file.

use plotters::style::text_anchor::HPos;

use super::{
    canvas::{Canvas, Font, colour},
    layout::{EDGE, Entry, LABEL, Layout, SAMPLE, SMALL, TITLE},
    model::{Figure, FigureError, Scale},
    panel::{self, LINE, font},
    scale::has_place,
};

/// The text of an SVG file that shows `figure`. Equal figures give equal text.
///
/// # Errors
/// [`FigureError::Empty`] without panels; [`FigureError::Value`] for a value that is not finite, or not above 0 on a
/// logarithmic axis.
pub fn render_svg(figure: &Figure) -> Result<String, FigureError> {
    if figure.panels.is_empty() {
        return Err(FigureError::Empty {
            title: figure.title.clone(),
        });
    }
    check(figure)?;
    let layout = Layout::of(figure);
    let mut svg = String::new();
    let canvas = Canvas::new(&mut svg, layout.width, layout.height)?;
    let bold = |size: f64| Font {
        bold: true,
        ..font(size, HPos::Left)
    };
    for (line, y) in &layout.title {
        canvas.text(line, (EDGE, *y), bold(TITLE))?;
    }
    for (title, y) in &layout.row_titles {
        canvas.text(title, (EDGE, *y), bold(LABEL))?;
    }
    for (entry, x, y) in &layout.legend {
        match entry {
            Entry::Heading(name) => canvas.text(name, (*x, *y), bold(SMALL))?,
            Entry::Line(series) => {
                let ends = [(*x, *y), (x + SAMPLE, *y)];
                canvas.line(&ends, LINE, colour(series.colour), series.dash)?;
                canvas.marker((x + 0.5 * SAMPLE, *y), series.colour)?;
                let at = (x + SAMPLE + 6.0, *y);
                canvas.text(&series.label, at, font(SMALL, HPos::Left))?;
            }
        }
    }
    for placed in &layout.panels {
        panel::draw(&canvas, placed)?;
    }
    for (line, y) in &layout.caption {
        canvas.text(line, (EDGE, *y), font(SMALL, HPos::Left))?;
    }
    canvas.finish()?;
    Ok(sized(&svg, &layout, figure))
}

/// Checks that every value has a place on its axis.
fn check(figure: &Figure) -> Result<(), FigureError> {
    for panel in &figure.panels {
        for series in &panel.series {
            for point in &series.points {
                let upwards = [point.y, point.lo, point.hi].into_iter().flatten();
                let all = upwards.map(|value| (value, panel.y.scale));
                for (value, scale) in all.chain([(point.x, panel.x.scale)]) {
                    if !has_place(scale, value) {
                        return Err(FigureError::Value {
                            panel: panel.title.clone(),
                            series: series.label.clone(),
                            value,
                            axis: match scale {
                                Scale::Log => "logarithmic",
                                Scale::Linear | Scale::Ordinal => "linear",
                            },
                        });
                    }
                }
            }
        }
    }
    Ok(())
}

/// The drawing with its size in pixels, and with a title and a description for those who cannot see it.
fn sized(svg: &str, layout: &Layout<'_>, figure: &Figure) -> String {
    let body = svg.find('>').map_or("", |end| &svg[end + 1..]);
    let view = |svg: &str| {
        let at = svg.find("viewBox=\"")? + 9;
        Some(svg[at..].split('"').next()?.to_owned())
    };
    format!(
        "<svg width=\"{:.0}\" height=\"{:.0}\" viewBox=\"{}\" role=\"img\" xmlns=\"http://www.w3.org/2000/svg\">\n<title>{}</title>\n<desc>{}</desc>{body}",
        layout.width,
        layout.height,
        view(svg).unwrap_or_default(),
        escaped(&figure.title),
        escaped(&figure.caption),
    )
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}
