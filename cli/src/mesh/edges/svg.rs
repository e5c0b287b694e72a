//! Edges as a picture; pure.
//!
//! Whoever is called by nobody stands at the left, whoever they call to the right of them, and so
//! on; within a column in the order of names. Lines are dashed where an end did not prove who it is.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::Edge;
use crate::mesh::names::short;

const WIDTH: usize = 200;
const HEIGHT: usize = 36;
const ACROSS: usize = 380;
const DOWN: usize = 70;
const MARGIN: usize = 20;

/// Draws them.
#[must_use]
pub(super) fn draw(edges: &[Edge]) -> String {
    let names: Vec<(String, String)> =
        edges.iter().map(|edge| (short(&edge.from), short(&edge.to))).collect();
    let places = places(&names);
    let size =
        |along: fn(&(usize, usize)) -> usize| places.values().map(along).max().unwrap_or(0) + 1;
    let (columns, rows) = (size(|place| place.0), size(|place| place.1));
    let width = 2 * MARGIN + WIDTH + (columns - 1) * ACROSS;
    let height = 2 * MARGIN + HEIGHT + (rows - 1) * DOWN + DOWN / 2;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n<defs><marker id=\"tip\" viewBox=\"0 0 8 8\" refX=\"8\" refY=\"4\" markerWidth=\"8\" markerHeight=\"8\" orient=\"auto\"><path d=\"M0 0 8 4 0 8z\" fill=\"#345\"/></marker></defs>\n<rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>\n"
    );
    for (edge, (from, to)) in edges.iter().zip(&names) {
        text += &line(edge, at(places[from]), at(places[to]));
    }
    for (name, place) in &places {
        text += &node(name, at(*place));
    }
    text + "</svg>\n"
}

/// A column and a row for each name.
fn places(edges: &[(String, String)]) -> BTreeMap<String, (usize, usize)> {
    let all: BTreeSet<&String> = edges.iter().flat_map(|(from, to)| [from, to]).collect();
    let mut columns: BTreeMap<&String, usize> = all.iter().map(|name| (*name, 0)).collect();
    // A circle would go on for ever: nobody stands further right than there are names.
    for _ in 0..all.len().min(16) {
        for (from, to) in edges.iter().filter(|(from, to)| from != to) {
            let right = columns[from] + 1;
            if columns[to] < right && right < all.len().min(8) {
                columns.insert(to, right);
            }
        }
    }
    let mut rows: BTreeMap<usize, usize> = BTreeMap::new();
    columns
        .into_iter()
        .map(|(name, column)| {
            let row = rows.entry(column).or_default();
            *row += 1;
            (name.clone(), (column, *row - 1))
        })
        .collect()
}

/// The upper left corner of a place.
fn at((column, row): (usize, usize)) -> (usize, usize) {
    (MARGIN + column * ACROSS, MARGIN + DOWN / 2 + row * DOWN)
}

fn line(edge: &Edge, from: (usize, usize), to: (usize, usize)) -> String {
    let dash = if edge.mutual { "" } else { " stroke-dasharray=\"5 4\"" };
    let (x1, y1) = (from.0 + WIDTH, from.1 + HEIGHT / 2);
    let (x2, y2) = (to.0, to.1 + HEIGHT / 2);
    // To the left and to itself it goes above the boxes.
    let bend = if x2 > x1 { (x2 - x1) / 2 } else { 60 };
    let (lift1, lift2) =
        if x2 > x1 { (y1, y2) } else { (y1.saturating_sub(60), y2.saturating_sub(60)) };
    let path =
        format!("M{x1} {y1} C{} {lift1} {} {lift2} {x2} {y2}", x1 + bend, x2.saturating_sub(bend));
    let (x, y) = (x1.midpoint(x2), lift1.midpoint(lift2).saturating_sub(6));
    let label = escaped(&format!("{} ({})", edge.by.join(", "), edge.connections));
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "<path d=\"{path}\" fill=\"none\" stroke=\"#345\"{dash} marker-end=\"url(#tip)\"/><text x=\"{x}\" y=\"{y}\" text-anchor=\"middle\" font-size=\"10\">{label}</text>"
    );
    text
}

fn node(name: &str, (x, y): (usize, usize)) -> String {
    let (middle, base) = (x + WIDTH / 2, y + HEIGHT / 2 + 4);
    format!(
        "<rect x=\"{x}\" y=\"{y}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" rx=\"6\" fill=\"#eef3f8\" stroke=\"#345\"/><text x=\"{middle}\" y=\"{base}\" text-anchor=\"middle\">{}</text>\n",
        escaped(name)
    )
}

/// What others wrote stays text, and within its box.
fn escaped(text: &str) -> String {
    const LONGEST: usize = 60;
    let line = crate::text::one_line(text);
    let short: String = match line.chars().count() > LONGEST {
        true => line.chars().take(LONGEST - 1).chain(['…']).collect(),
        false => line,
    };
    short.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::super::merge::example;
    use super::*;

    #[test]
    fn whoever_is_called_stands_to_the_right_of_who_calls_even_in_a_circle() {
        let edge = |from: &str, to: &str| (from.to_owned(), to.to_owned());
        let places = places(&[edge("a", "b"), edge("b", "c"), edge("x", "b"), edge("c", "c")]);
        let column = |name: &str| places[name].0;
        assert_eq!(["a", "x", "b", "c"].map(column), [0, 0, 1, 2]);
        assert_ne!(places["a"].1, places["x"].1);
        assert_eq!(super::places(&[edge("a", "b"), edge("b", "a")]).len(), 2);
    }

    #[test]
    fn a_picture_has_a_box_for_each_and_a_line_for_each_edge() {
        let text = draw(&example());
        assert_eq!(text.matches("rx=\"6\"").count(), 4, "{text}");
        assert_eq!(text.matches("marker-end").count(), 3, "{text}");
        assert_eq!(text.matches("stroke-dasharray").count(), 2, "{text}");
        assert!(draw(&[]).ends_with("</svg>\n"));
        assert_eq!(escaped("<a&b>"), "&lt;a&amp;b&gt;");
    }
}
