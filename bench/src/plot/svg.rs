//! An SVG picture under construction: a few shapes, coordinates with one decimal, text escaped.

use std::fmt::Write;

/// Size of text, in units.
pub const TEXT: f64 = 13.0;

/// Where text hangs on its point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// It begins there.
    Start,
    /// Its middle is there.
    Middle,
    /// It ends there.
    End,
}

/// A picture.
#[derive(Clone, Debug)]
pub struct Svg {
    /// In units.
    pub width: f64,
    /// In units.
    pub height: f64,
    body: String,
}

impl Svg {
    /// An empty one.
    pub fn new(width: f64, height: f64) -> Svg {
        Svg { width, height, body: String::new() }
    }

    /// A straight line.
    pub fn line(&mut self, from: (f64, f64), to: (f64, f64), class: &str) {
        let ((x1, y1), (x2, y2)) = (from, to);
        let _ = writeln!(
            self.body,
            "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>"
        );
    }

    /// A line through points, `width` units thick, this opaque.
    pub fn path(&mut self, points: &[(f64, f64)], class: &str, width: f64, opacity: f64) {
        if points.is_empty() {
            return;
        }
        let points: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let _ = writeln!(
            self.body,
            "<polyline class=\"{class}\" fill=\"none\" stroke-width=\"{width}\" stroke-linejoin=\"round\" \
             stroke-opacity=\"{opacity}\" points=\"{}\"/>",
            points.join(" ")
        );
    }

    /// A filled rectangle.
    pub fn bar(&mut self, at: (f64, f64), size: (f64, f64), class: &str) {
        let ((x, y), (width, height)) = (at, size);
        let _ = writeln!(
            self.body,
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" rx=\"1.5\"/>"
        );
    }

    /// A filled circle.
    pub fn dot(&mut self, at: (f64, f64), radius: f64, class: &str) {
        let (x, y) = at;
        let _ = writeln!(self.body, "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\"/>");
    }

    /// Text with its base line at `y`.
    pub fn text(&mut self, x: f64, y: f64, class: &str, anchor: Anchor, text: &str) {
        self.sized(x, y, class, anchor, text, TEXT);
    }

    /// The heading, at the top.
    pub fn title(&mut self, text: &str) {
        self.sized(14.0, 26.0, "ink", Anchor::Start, text, 16.0);
    }

    fn sized(&mut self, x: f64, y: f64, class: &str, anchor: Anchor, text: &str, size: f64) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let _ = writeln!(
            self.body,
            "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"{size}\" text-anchor=\"{anchor}\">{}</text>",
            escape(text)
        );
    }

    /// To be put into a page that gives the classes their colours.
    pub fn inline(&self, label: &str) -> String {
        let (width, height) = (self.width, self.height);
        format!(
            "<svg viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{}\" font-family=\"system-ui, sans-serif\">\n{}</svg>\n",
            escape(label),
            self.body
        )
    }

    /// A document of its own, with colours.
    pub fn standalone(&self, style: &str) -> String {
        let (width, height) = (self.width, self.height);
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
             font-family=\"Ubuntu, sans-serif\">\n<style>{style}</style>\n\
             <rect class=\"paper\" x=\"0\" y=\"0\" width=\"{width}\" height=\"{height}\"/>\n{}</svg>\n",
            self.body
        )
    }
}

/// About how wide this text is, rather more than less: labels must not touch.
pub fn text_width(text: &str) -> f64 {
    text.chars().count() as f64 * TEXT * 0.56
}

/// For text and attributes of HTML and SVG.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_break_out() {
        let mut picture = Svg::new(10.0, 10.0);
        picture.text(1.0, 2.0, "ink", Anchor::Start, "a<b> & \"c\"");
        assert!(picture.inline("x\"y").contains("a&lt;b&gt; &amp; &quot;c&quot;"));
        assert!(picture.inline("x\"y").contains("aria-label=\"x&quot;y\""));
        assert!(picture.standalone("").starts_with("<svg xmlns"));
    }
}
