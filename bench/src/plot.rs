//! Pictures of results. A picture is drawn once, as SVG whose colours are classes: a page gives them colours for light and dark, and for
//! a PNG they are those of [`PALETTE`].
//!
//! Text is set in a font that comes with the program, so that a picture looks the same on a machine without any.

pub mod bars;
pub mod lines;
pub mod scale;
pub mod svg;

#[cfg(feature = "plots")]
mod png;

pub use svg::Svg;

/// Colours on paper; a page has its own.
#[cfg(feature = "plots")]
const PALETTE: &str = "
.paper{fill:#ffffff} .ink{fill:#1b1f24} .muted{fill:#59636e} .grid{stroke:#dde1e6} .axis{stroke:#8a939d}
.c0{fill:#1f6feb} .c1{fill:#1a9a8a} .c2{fill:#d9730d} .c3{fill:#b3265e} .c4{fill:#6f42c1} .c5{fill:#57606a} .c6{fill:#8a6d00} .c7{fill:#2b7a2b} .c8{fill:#0b7285}
.l0{stroke:#1f6feb} .l1{stroke:#1a9a8a} .l2{stroke:#d9730d} .l3{stroke:#b3265e} .l4{stroke:#6f42c1} .l5{stroke:#57606a} .l6{stroke:#8a6d00} .l7{stroke:#2b7a2b} .l8{stroke:#0b7285}
";

/// How many colours there are for series.
pub const COLOURS: usize = 9;

/// Can pictures become PNG files? Who measures for long asks before.
pub fn available() -> Result<(), String> {
    if cfg!(feature = "plots") {
        return Ok(());
    }
    Err("this program was built without pictures: build it with --features plots, as scripts/dev does".to_owned())
}

/// A picture as PNG, twice as many pixels as it has units, so that it stays sharp.
#[cfg(feature = "plots")]
pub fn png(picture: &Svg) -> Result<Vec<u8>, String> {
    png::draw(picture)
}

/// A picture as PNG: not in this build.
#[cfg(not(feature = "plots"))]
pub fn png(_: &Svg) -> Result<Vec<u8>, String> {
    Err(available().expect_err("built without"))
}
