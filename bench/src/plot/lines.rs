//! A picture of lines over two axes: latency over percentiles, records over time, latency over bandwidth.

use super::scale::Scale;
use super::svg::{Anchor, Svg, text_width};

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 430.0;
const TOP: f64 = 44.0;
const UNIT_LINE: f64 = 22.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 26.0;
const BOTTOM: f64 = 52.0;
const LEGEND_LINE: f64 = 22.0;

/// One line.
#[derive(Clone, Debug)]
pub struct Series {
    /// In the legend; lines with the same name and colour stand there once.
    pub name: String,
    /// Which colour.
    pub colour: usize,
    /// Places of the axes' values.
    pub points: Vec<(f64, f64)>,
}

/// How the points of a line are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Connected.
    Line,
    /// A dot at each; connected are those that no other has more of on the one axis with less on the other: more to the right, less upwards.
    Front,
}

/// The axes of a picture.
#[derive(Clone, Debug)]
pub struct Axis {
    /// What it measures, with its unit.
    pub label: String,
    /// From values to places.
    pub scale: Scale,
    /// Other marks than the scale's own.
    pub marks: Option<Vec<(f64, String)>>,
}

impl Axis {
    /// With the scale's own marks.
    pub fn new(label: &str, scale: Scale) -> Axis {
        Axis { label: label.to_owned(), scale, marks: None }
    }
}

/// Draws the lines; of those with the same colour all but the first are thinner.
pub fn draw(title: &str, x: &Axis, y: &Axis, series: &[Series], style: Style) -> Svg {
    let mut names: Vec<(&str, usize)> = Vec::new();
    for line in series {
        if !names.contains(&(line.name.as_str(), line.colour)) {
            names.push((&line.name, line.colour));
        }
    }
    let legend = legend_places(&names);
    let legend_height = legend.last().map_or(0.0, |(_, y)| y + LEGEND_LINE);
    let top = TOP + legend_height + UNIT_LINE;
    let mut picture = Svg::new(WIDTH, HEIGHT + legend_height + UNIT_LINE);
    picture.title(title);
    for ((name, colour), (at, down)) in names.iter().zip(&legend) {
        let base = TOP + down + 8.0;
        picture.path(&[(*at, base - 4.5), (at + 20.0, base - 4.5)], &format!("l{colour}"), 3.0, 1.0);
        picture.text(at + 26.0, base, "ink", Anchor::Start, name);
    }
    let (right, bottom) = (WIDTH - RIGHT, picture.height - BOTTOM);
    let place = |(at_x, at_y): (f64, f64)| {
        (LEFT + x.scale.share(at_x) * (right - LEFT), bottom - y.scale.share(at_y) * (bottom - top))
    };
    for (value, text) in y.marks.clone().unwrap_or_else(|| y.scale.marks()) {
        let (_, at) = place((0.0, value));
        picture.line((LEFT, at), (right, at), "grid");
        picture.text(LEFT - 8.0, at + 4.5, "muted", Anchor::End, &text);
    }
    let mut free_from = 0.0;
    for (value, text) in x.marks.clone().unwrap_or_else(|| x.scale.marks()) {
        let (at, _) = place((value, 0.0));
        picture.line((at, top), (at, bottom), "grid");
        let half = text_width(&text) / 2.0;
        if at - half >= free_from {
            picture.text(at, bottom + 18.0, "muted", Anchor::Middle, &text);
            free_from = at + half + 4.0;
        }
    }
    picture.line((LEFT, bottom), (right, bottom), "axis");
    picture.line((LEFT, top), (LEFT, bottom), "axis");
    picture.text((LEFT + right) / 2.0, bottom + 40.0, "muted", Anchor::Middle, &x.label);
    picture.text(14.0, top - 14.0, "muted", Anchor::Start, &y.label);
    let mut drawn: Vec<usize> = Vec::new();
    for line in series {
        let connected = if style == Style::Front { front(&line.points) } else { line.points.clone() };
        let points: Vec<(f64, f64)> = connected.into_iter().map(place).collect();
        let first = !drawn.contains(&line.colour);
        drawn.push(line.colour);
        let (width, opacity) = if first { (2.2, 1.0) } else { (1.2, 0.6) };
        picture.path(&points, &format!("l{}", line.colour), width, opacity);
        if style == Style::Front {
            for &point in &line.points {
                picture.dot(place(point), 3.5, &format!("c{}", line.colour));
            }
        }
    }
    picture
}

/// The points that no other beats, from the right to the left.
fn front(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut sorted = points.to_vec();
    sorted.sort_by(|left, right| right.0.total_cmp(&left.0).then(left.1.total_cmp(&right.1)));
    let mut lowest = f64::INFINITY;
    sorted.retain(|point| {
        let better = point.1 < lowest;
        lowest = lowest.min(point.1);
        better
    });
    sorted
}

/// Where each name of the legend stands: beside one another, on the next line when there is no room.
fn legend_places(names: &[(&str, usize)]) -> Vec<(f64, f64)> {
    let (mut at, mut down) = (14.0, 0.0);
    names
        .iter()
        .map(|(name, _)| {
            let width = 26.0 + text_width(name) + 18.0;
            if at > 14.0 && at + width > WIDTH - RIGHT {
                (at, down) = (14.0, down + LEGEND_LINE);
            }
            let place = (at, down);
            at += width;
            place
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_names_wrap_and_stay_inside() {
        let names: Vec<String> = (0..12).map(|at| format!("a name that is long {at}")).collect();
        let names: Vec<(&str, usize)> = names.iter().map(|name| (name.as_str(), 0)).collect();
        let places = legend_places(&names);
        for (place, (name, _)) in places.iter().zip(&names) {
            assert!(place.0 + 26.0 + text_width(name) <= WIDTH, "{place:?}");
        }
        for (left, right) in places.iter().zip(&places[1..]) {
            assert!(right.1 > left.1 || right.0 > left.0 + text_width(names[0].0));
        }
    }

    #[test]
    fn the_front_is_what_nothing_beats() {
        let found = front(&[(100.0, 1.0), (200.0, 5.0), (150.0, 6.0), (200.0, 4.0), (50.0, 1.0), (10.0, 0.5)]);
        assert_eq!(found, [(200.0, 4.0), (100.0, 1.0), (10.0, 0.5)]);
    }

    #[test]
    fn every_series_is_there_once_in_the_legend() {
        let series =
            |name: &str, colour| Series { name: name.to_owned(), colour, points: vec![(0.0, 1.0), (1.0, 2.0)] };
        let all = [series("floe", 0), series("floe", 0), series("kafka", 2)];
        let axis = |label: &str| Axis::new(label, Scale::linear(2.0));
        let text = draw("t", &axis("seconds"), &axis("MB/s"), &all, Style::Line).inline("t");
        assert_eq!((text.matches(">floe<").count(), text.matches(">kafka<").count()), (1, 1));
        assert_eq!(text.matches("<polyline").count(), 3 + 2, "three lines and two in the legend");
    }
}
