//! Pictures of results. A picture is drawn once, as SVG whose colours are classes: a page gives them colours for light and dark, and for
//! a PNG they are those of [`PALETTE`].
//!
//! Text is set in a font that comes with the program, so that a picture looks the same on a machine without any.

pub mod bars;
pub mod lines;
pub mod scale;
pub mod svg;

use std::sync::{Arc, LazyLock};

use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::fontdb::Database;
use resvg::usvg::{Options, Tree};

pub use svg::Svg;

/// Pixels of a PNG for each unit of a picture.
const PNG_SCALE: f32 = 2.0;

/// Colours on paper; a page has its own.
const PALETTE: &str = "
.paper{fill:#ffffff} .ink{fill:#1b1f24} .muted{fill:#59636e} .grid{stroke:#dde1e6} .axis{stroke:#8a939d}
.c0{fill:#1f6feb} .c1{fill:#1a9a8a} .c2{fill:#d9730d} .c3{fill:#b3265e} .c4{fill:#6f42c1} .c5{fill:#57606a} .c6{fill:#8a6d00} .c7{fill:#2b7a2b} .c8{fill:#0b7285}
.l0{stroke:#1f6feb} .l1{stroke:#1a9a8a} .l2{stroke:#d9730d} .l3{stroke:#b3265e} .l4{stroke:#6f42c1} .l5{stroke:#57606a} .l6{stroke:#8a6d00} .l7{stroke:#2b7a2b} .l8{stroke:#0b7285}
";

/// How many colours there are for series.
pub const COLOURS: usize = 9;

static FONTS: LazyLock<Arc<Database>> = LazyLock::new(|| {
    let mut fonts = Database::new();
    fonts.load_font_data(epaint_default_fonts::UBUNTU_LIGHT.to_vec());
    fonts.set_sans_serif_family("Ubuntu");
    Arc::new(fonts)
});

/// A picture as PNG, twice as many pixels as it has units, so that it stays sharp.
pub fn png(picture: &Svg) -> Result<Vec<u8>, String> {
    let options = Options { fontdb: FONTS.clone(), font_family: "Ubuntu".to_owned(), ..Options::default() };
    let tree = Tree::from_str(&picture.standalone(PALETTE), &options).map_err(|error| format!("picture: {error}"))?;
    let pixels = |units: f64| (units as f32 * PNG_SCALE).ceil() as u32;
    let mut pixmap = Pixmap::new(pixels(picture.width), pixels(picture.height)).ok_or("a picture without a size")?;
    resvg::render(&tree, Transform::from_scale(PNG_SCALE, PNG_SCALE), &mut pixmap.as_mut());
    pixmap.encode_png().map_err(|error| format!("picture: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_png_has_the_size_and_shows_text() {
        let mut picture = Svg::new(200.0, 80.0);
        picture.text(10.0, 40.0, "ink", svg::Anchor::Start, "p99.9");
        let bytes = png(&picture).expect("drawn");
        let drawn = Pixmap::decode_png(&bytes).expect("a PNG");
        assert_eq!((drawn.width(), drawn.height()), (400, 160));
        let dark = drawn.pixels().iter().filter(|pixel| pixel.red() < 100).count();
        assert!(dark > 50, "only {dark} dark pixels: the text has no font");
        let empty = png(&Svg::new(200.0, 80.0)).expect("drawn");
        assert!(Pixmap::decode_png(&empty).expect("a PNG").pixels().iter().all(|pixel| pixel.red() == 255));
    }
}
