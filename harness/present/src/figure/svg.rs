//! A figure as an SVG file.

use plotters::style::text_anchor::HPos;

use super::{
    canvas::{Canvas, Font},
    cells, colour_bar,
    layout::Layout,
    legend,
    model::{Bar, Figure, FigureError, HeatMap, Marks, Panel, Scale, Series},
    panel,
    pens::font,
    scale::has_place,
    sizes::{EDGE, LABEL, SMALL, TITLE},
    text::printable,
};

/// The text of an SVG file that shows `figure`. Equal figures give equal text.
///
/// # Errors
/// [`FigureError::Empty`] without panels; [`FigureError::Value`] for a value that is not finite, or
/// not above 0 on a logarithmic axis.
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
    legend::draw(&canvas, &layout.legend)?;
    if let Some(bar) = &layout.colours {
        colour_bar::draw(&canvas, bar)?;
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
        match &panel.marks {
            Marks::Lines(series) => series.iter().try_for_each(|line| check_line(panel, line))?,
            Marks::Cells(map) => check_cells(panel, map)?,
            Marks::Bars(groups) => {
                for group in groups {
                    let mut bars = group.bars.iter();
                    bars.try_for_each(|bar| check_bar(panel, &group.name, bar))?;
                }
            }
            Marks::Nothing => {}
        }
    }
    Ok(())
}

fn no_place(panel: &Panel, mark: String, value: f64, axis: &'static str) -> FigureError {
    let panel = panel.title.clone();
    FigureError::Value {
        panel,
        mark,
        value,
        axis,
    }
}

fn check_line(panel: &Panel, series: &Series) -> Result<(), FigureError> {
    for point in &series.points {
        let upwards = [point.y, point.lo, point.hi].into_iter().flatten();
        let all = upwards.map(|value| (value, panel.y.scale));
        for (value, scale) in all.chain([(point.x, panel.x.scale)]) {
            if !has_place(scale, value) {
                let axis = match scale {
                    Scale::Log => "logarithmic",
                    Scale::Linear | Scale::Ordinal => "linear",
                };
                let mark = format!("line {:?}", series.label);
                return Err(no_place(panel, mark, value, axis));
            }
        }
    }
    Ok(())
}

fn check_cells(panel: &Panel, map: &HeatMap) -> Result<(), FigureError> {
    for (row, values) in map.rows.iter().enumerate() {
        for (column, value) in values.iter().enumerate() {
            if let Some(value) = value.filter(|value| !value.is_finite()) {
                let mark = format!("row {row}, column {column}");
                return Err(no_place(panel, mark, value, "colour"));
            }
        }
    }
    Ok(())
}

fn check_bar(panel: &Panel, group: &str, bar: &Bar) -> Result<(), FigureError> {
    for value in [bar.value, bar.lo, bar.hi].into_iter().flatten() {
        if !value.is_finite() || value < 0.0 {
            let mark = format!("bar {:?} of {group:?}", bar.label);
            return Err(no_place(panel, mark, value, "zero-based"));
        }
    }
    Ok(())
}

/// The drawing with its size in pixels, and with a title and a description for those who cannot see
/// it.
fn sized(svg: &str, layout: &Layout<'_>, figure: &Figure) -> String {
    let body = svg.find('>').map_or("", |end| &svg[end + 1..]);
    // The first shape is the white ground; colours lie on it and under everything else.
    let (ground, rest) = body.split_at(body.find("/>").map_or(0, |end| end + 2));
    let colours = cells::svg(layout);
    let view = |svg: &str| {
        let at = svg.find("viewBox=\"")? + 9;
        Some(svg[at..].split('"').next()?.to_owned())
    };
    format!(
        "<svg width=\"{:.0}\" height=\"{:.0}\" viewBox=\"{}\" role=\"img\" xmlns=\"http://www.w3.org/2000/svg\">\n<title>{}</title>\n<desc>{}</desc>{ground}{colours}{rest}",
        layout.width,
        layout.height,
        view(svg).unwrap_or_default(),
        escaped(&figure.title),
        escaped(&figure.caption),
    )
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in printable(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            c => out.push(c),
        }
    }
    out
}
