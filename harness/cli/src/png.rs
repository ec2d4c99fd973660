//! Pictures as PNG, made from their SVG files.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use harness_contract::exit;
use resvg::{
    tiny_skia::{Pixmap, Transform},
    usvg::{
        Options, Tree,
        fontdb::{Database, Family, Query},
    },
};

use crate::failure::Failure;

/// Pixels of the PNG for each of the SVG: at half a page width that is some 400 to the inch.
const ZOOM: f32 = 2.0;
/// Fonts that pictures are drawn with, the best first; others only where none of them is there.
const FONTS: [&str; 6] = [
    "Helvetica",
    "Arial",
    "Liberation Sans",
    "DejaVu Sans",
    "Noto Sans",
    "Nimbus Sans",
];

/// The fonts of this machine.
pub fn fonts() -> Database {
    let mut fonts = Database::new();
    fonts.load_system_fonts();
    fonts
}

/// Draw each SVG file among `files` as a PNG file beside it, and return the new files.
///
/// # Errors
/// When there is no font to draw texts with, or a file cannot be read or written.
pub fn write_all(files: &[PathBuf], fonts: Database) -> Result<Vec<PathBuf>, Failure> {
    let svgs = files
        .iter()
        .filter(|file| file.extension().is_some_and(|ending| ending == "svg"));
    let options = options(fonts)?;
    svgs.map(|svg| write(svg, &options)).collect()
}

fn options(mut fonts: Database) -> Result<Options<'static>, Failure> {
    let known = FONTS.into_iter().find(|name| {
        let families = [Family::Name(name)];
        let query = Query {
            families: &families,
            ..Query::default()
        };
        fonts.query(&query).is_some()
    });
    let any = || {
        let mut faces = fonts.faces().collect::<Vec<_>>();
        faces.sort_by_key(|face| face.monospaced);
        let (name, _) = faces.first()?.families.first()?;
        Some(name.clone())
    };
    let Some(family) = known.map(str::to_owned).or_else(any) else {
        let failure = Failure::new(
            exit::CANNOT_WRITE,
            "--png: no font is installed on this machine, the texts of the pictures cannot be drawn",
        );
        return Err(failure.hint(
            "install one, such as the package fonts-dejavu-core, or use the SVG files, which need none",
        ));
    };
    fonts.set_sans_serif_family(family.clone());
    Ok(Options {
        font_family: family,
        fontdb: Arc::new(fonts),
        ..Options::default()
    })
}

fn write(svg: &Path, options: &Options<'_>) -> Result<PathBuf, Failure> {
    let png = svg.with_extension("png");
    let text = fs::read_to_string(svg).map_err(|error| cannot(svg, &error))?;
    let tree = Tree::from_str(&text, options).map_err(|error| cannot(svg, &error))?;
    let size = tree.size().to_int_size();
    let pixels = |length: u32| (length as f32 * ZOOM).ceil() as u32;
    let mut image = Pixmap::new(pixels(size.width()), pixels(size.height()))
        .ok_or_else(|| cannot(&png, &"the picture has no size"))?;
    resvg::render(
        &tree,
        Transform::from_scale(ZOOM, ZOOM),
        &mut image.as_mut(),
    );
    let bytes = image.encode_png().map_err(|error| cannot(&png, &error))?;
    fs::write(&png, bytes).map_err(|error| cannot(&png, &error))?;
    Ok(png)
}

fn cannot(path: &Path, error: &dyn std::fmt::Display) -> Failure {
    Failure::new(
        exit::CANNOT_WRITE,
        format!("--png: {}: {error}", path.display()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const SVG: &str = "<svg width=\"40\" height=\"20\" viewBox=\"0 0 160 80\" xmlns=\"http://www.w3.org/2000/svg\">\
                       <rect width=\"160\" height=\"80\" fill=\"#FFFFFF\"/>\
                       <text x=\"20\" y=\"60\" font-family=\"Helvetica, sans-serif\" font-size=\"56\">WWW</text></svg>";

    #[test]
    fn without_a_font_there_is_a_hint_and_no_empty_picture() {
        let dir = tempfile::tempdir().unwrap();
        let svg = dir.path().join("a.svg");
        fs::write(&svg, SVG).unwrap();
        let failure = write_all(std::slice::from_ref(&svg), Database::new()).unwrap_err();
        assert!(failure.to_string().contains("fonts-dejavu-core"));
        assert!(!svg.with_extension("png").exists());
    }

    #[test]
    fn a_picture_is_drawn_with_its_text() {
        let fonts = fonts();
        if fonts.is_empty() {
            eprintln!("skipped: no font is installed");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let (svg, csv) = (dir.path().join("a.svg"), dir.path().join("a.csv"));
        fs::write(&svg, SVG).unwrap();
        let files = write_all(&[csv, svg], fonts).unwrap();
        assert_eq!(files, [dir.path().join("a.png")]);
        let image = Pixmap::decode_png(&fs::read(&files[0]).unwrap()).unwrap();
        assert_eq!((image.width(), image.height()), (80, 40));
        let dark = image.pixels().iter().filter(|p| p.red() < 100).count();
        assert!(dark > 100, "{dark} dark pixels");
    }
}
