use std::collections::BTreeMap;

use super::*;

/// Each metric's name as Prometheus has it, and its type.
fn registered() -> BTreeMap<String, &'static str> {
    let mut registry = Registry::default();
    let mut book = Book { registry: &mut registry, names: Vec::new() };
    Metrics::new().register_in(&mut book);
    let counted = book.names.into_iter().map(|(name, type_)| match type_ {
        MetricType::Counter => (format!("{name}_total"), "counter"),
        MetricType::Gauge => (name.to_owned(), "gauge"),
        MetricType::Histogram => (name.to_owned(), "histogram"),
        MetricType::Info => (format!("{name}_info"), "gauge"),
        other => panic!("{name} is of type {other:?}"),
    });
    counted.chain(objects::names().map(|name| (name.to_owned(), "gauge"))).collect()
}

/// What the tables of the docs say, from lines such as "| `name` | type | labels | meaning |".
fn documented(text: &str) -> BTreeMap<String, &str> {
    let rows = text.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `")?.split('|').map(str::trim);
        let name = cells.next()?.trim_matches('`');
        Some((name.to_owned(), cells.next()?))
    });
    rows.filter(|(name, _)| !name.starts_with("certmanager_")).collect()
}

#[test]
fn the_docs_name_exactly_the_metrics_that_there_are() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
    let text = std::fs::read_to_string(path).unwrap();
    assert_eq!(documented(&text), registered());
}

#[test]
fn whatever_the_docs_call_ours_is_there() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
    let text = std::fs::read_to_string(path).unwrap();
    let known = registered();
    let is_part = |character: char| character.is_ascii_alphanumeric() || character == '_';
    let words = text.split(|character| !is_part(character));
    for word in words.filter(|word| word.starts_with("countersign_")) {
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| word.strip_suffix(end));
        assert!(known.contains_key(base.unwrap_or(word)), "{word}");
    }
}
