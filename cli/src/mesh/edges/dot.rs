//! Edges in the language of Graphviz; pure.

use std::fmt::Write;

use super::Edge;
use crate::mesh::names::short;

/// A graph: solid lines where both ends proved who they are, dashed ones where not.
#[must_use]
pub(super) fn draw(edges: &[Edge]) -> String {
    let mut text = "digraph countersign {\n  rankdir=LR;\n  node [shape=box];\n".to_owned();
    for edge in edges {
        let style = if edge.mutual { "solid" } else { "dashed" };
        let (from, to) = (quoted(&short(&edge.from)), quoted(&short(&edge.to)));
        let label = quoted(&format!("{} ({})", edge.by.join(", "), edge.connections));
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {from} -> {to} [label={label}, style={style}];");
    }
    text + "}\n"
}

/// What others wrote stays within its quotes.
fn quoted(text: &str) -> String {
    let text = crate::text::one_line(text).replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{text}\"")
}

#[cfg(test)]
mod tests {
    use super::super::merge::example;
    use super::*;

    #[test]
    fn a_graph_has_a_line_for_each_edge() {
        let text = draw(&example());
        let line = r#""desk/caller" -> "shop/web" [label="Service shop/web, port 8080 (7)", style=solid];"#;
        assert!(text.contains(line), "{text}");
        assert!(text.contains(r#""anonymous" -> "shop/web""#), "{text}");
        assert_eq!(quoted("a\"b\\c\n"), r#""a\"b\\c""#);
    }
}
