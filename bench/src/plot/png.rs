//! SVG to PNG, with a font that comes along. Only with the feature `plots`: the crates behind it take longer to compile than the rest of
//! the bench.

use std::sync::{Arc, LazyLock};

use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::fontdb::Database;
use resvg::usvg::{Options, Tree};

use super::{PALETTE, Svg};

/// Pixels of a PNG for each unit of a picture.
const PNG_SCALE: f32 = 2.0;

static FONTS: LazyLock<Arc<Database>> = LazyLock::new(|| {
    let mut fonts = Database::new();
    fonts.load_font_data(epaint_default_fonts::UBUNTU_LIGHT.to_vec());
    fonts.set_sans_serif_family("Ubuntu");
    Arc::new(fonts)
});

/// See [`super::png`].
pub fn draw(picture: &Svg) -> Result<Vec<u8>, String> {
    let options = Options { fontdb: FONTS.clone(), font_family: "Ubuntu".to_owned(), ..Options::default() };
    let tree = Tree::from_str(&picture.standalone(PALETTE), &options).map_err(|error| format!("picture: {error}"))?;
    let pixels = |units: f64| (units as f32 * PNG_SCALE).ceil() as u32;
    let mut pixmap = Pixmap::new(pixels(picture.width), pixels(picture.height)).ok_or("a picture without a size")?;
    resvg::render(&tree, Transform::from_scale(PNG_SCALE, PNG_SCALE), &mut pixmap.as_mut());
    pixmap.encode_png().map_err(|error| format!("picture: {error}"))
}

#[cfg(test)]
mod tests {
    use super::super::svg;
    use super::*;

    #[test]
    fn a_png_has_the_size_and_shows_text() {
        let mut picture = Svg::new(200.0, 80.0);
        picture.text(10.0, 40.0, "ink", svg::Anchor::Start, "p99.9");
        let bytes = draw(&picture).expect("drawn");
        let drawn = Pixmap::decode_png(&bytes).expect("a PNG");
        assert_eq!((drawn.width(), drawn.height()), (400, 160));
        let dark = drawn.pixels().iter().filter(|pixel| pixel.red() < 100).count();
        assert!(dark > 50, "only {dark} dark pixels: the text has no font");
        let empty = draw(&Svg::new(200.0, 80.0)).expect("drawn");
        assert!(Pixmap::decode_png(&empty).expect("a PNG").pixels().iter().all(|pixel| pixel.red() == 255));
    }
}
