//! A picture of horizontal bars in groups, each with its value behind it and its spread on it; or of dots, when the axis is logarithmic
//! and a bar's length would mean nothing.

use super::scale::Scale;
use super::svg::{Anchor, Svg, text_width};
use crate::compare::spread::Spread;

const WIDTH: f64 = 860.0;
const TOP: f64 = 74.0;
const BOTTOM: f64 = 50.0;
const BAR: f64 = 17.0;
const GROUP_GAP: f64 = 16.0;
/// Room for a value behind the longest bar.
const VALUE: f64 = 150.0;

/// One bar.
#[derive(Clone, Debug)]
pub struct Bar {
    /// Whose.
    pub name: String,
    /// Which colour.
    pub colour: usize,
    /// Its length and spread.
    pub value: Spread,
}

/// Bars that belong together.
#[derive(Clone, Debug)]
pub struct Group {
    /// Written above them.
    pub label: String,
    /// From top to bottom.
    pub bars: Vec<Bar>,
}

/// Draws the groups below one another; `unit` names the axis. With `line` a value gets a line across, such as 1 among ratios.
pub fn draw(title: &str, unit: &str, groups: &[Group], scale: Scale, line: Option<f64>) -> Svg {
    let bars: usize = groups.iter().map(|group| group.bars.len()).sum();
    let height = TOP + groups.len() as f64 * (BAR + 3.0 + GROUP_GAP) + bars as f64 * (BAR + 3.0) + BOTTOM;
    let mut picture = Svg::new(WIDTH, height);
    picture.title(title);
    picture.text(14.0, 48.0, "muted", Anchor::Start, unit);
    let names = groups.iter().flat_map(|group| &group.bars).map(|bar| text_width(&bar.name));
    let left = 14.0 + names.fold(60.0, f64::max) + 12.0;
    let (right, bottom) = (WIDTH - VALUE, height - BOTTOM);
    let place = |value: f64| left + scale.share(value) * (right - left);
    let mut free_from = 0.0;
    for (value, text) in scale.marks() {
        let (at, half) = (place(value), text_width(&text) / 2.0);
        if at - half >= free_from {
            picture.text(at, bottom + 18.0, "muted", Anchor::Middle, &text);
            free_from = at + half + 4.0;
        }
    }
    let logarithmic = matches!(scale, Scale::Log { .. });
    let mut down = TOP;
    for group in groups {
        picture.text(14.0, down + 12.0, "ink", Anchor::Start, &group.label);
        down += BAR + 3.0;
        // The lines of the axis only beside the bars: they would cross the label.
        let end = down + group.bars.len() as f64 * (BAR + 3.0);
        for (value, _) in scale.marks() {
            picture.line((place(value), down), (place(value), end), "grid");
        }
        for value in line.into_iter().filter(|_| logarithmic) {
            picture.line((place(value), down), (place(value), end), "axis");
        }
        if !logarithmic {
            picture.line((left, down), (left, end), "axis");
        }
        for bar in &group.bars {
            let middle = down + BAR / 2.0;
            picture.text(left - 10.0, middle + 4.5, "muted", Anchor::End, &bar.name);
            let (fill, stroke) = (format!("c{}", bar.colour), format!("l{}", bar.colour));
            let (at, min, max) = (place(bar.value.median), place(bar.value.min), place(bar.value.max));
            if logarithmic {
                picture.path(&[(min, middle), (max, middle)], &stroke, 3.0, 0.6);
                picture.dot((at, middle), 5.0, &fill);
            } else {
                picture.bar((left, down + 2.0), ((at - left).max(1.0), BAR - 4.0), &fill);
                if max > min + 1.0 {
                    picture.path(&[(min, middle), (max, middle)], "axis", 1.5, 1.0);
                }
            }
            picture.text(max.max(at) + 10.0, middle + 4.5, "ink", Anchor::Start, &bar.value.to_string());
            down += BAR + 3.0;
        }
        down += GROUP_GAP;
    }
    picture
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bar_has_its_name_and_value() {
        let value = |median: f64| Spread { median, min: median, max: median * 1.5, runs: 2 };
        let bar = |name: &str, median| Bar { name: name.to_owned(), colour: 0, value: value(median) };
        let groups = [Group { label: "produce".to_owned(), bars: vec![bar("floe", 0.5), bar("kafka durable", 4.0)] }];
        for scale in [Scale::linear(6.0), Scale::log(0.5, 6.0)] {
            let text = draw("t", "s/GB", &groups, scale, Some(1.0)).inline("t");
            for wanted in [">produce<", ">floe<", ">kafka durable<", ">0.500 (0.500..0.750)<", ">4.00 (4.00..6.00)<"] {
                assert!(text.contains(wanted), "{wanted}");
            }
        }
    }
}
