//! Every place that the table of fields names is there.

use marque_export::fields::{FIELDS, List, fields_table};
use serde_json::Value;

use crate::{entry_json, sample};

#[test]
fn every_place_holds_a_value() {
    for asked in FIELDS {
        assert!(!asked.places.is_empty(), "{}", asked.name);
        for place in asked.places {
            let event = entry_json(&sample::full(place.kind));
            let found = values(&event, place.pointer);
            assert!(!found.is_empty(), "`{}` of `{}` for {}", place.pointer, place.kind, asked.name);
            for value in found {
                let empty = value.is_null() || value == "" || value.as_array().is_some_and(Vec::is_empty);
                assert!(!empty, "`{}` of `{}` says nothing", place.pointer, place.kind);
            }
        }
    }
}

#[test]
fn there_are_seven_and_sixteen() {
    let count = |list| FIELDS.iter().filter(|asked| asked.list == list).count();
    assert_eq!((count(List::Aims), count(List::Nhimg)), (7, 16));
}

#[test]
fn the_table_has_a_row_for_each_field_and_kind() {
    let table = fields_table();
    for asked in FIELDS {
        assert!(table.contains(&format!(" | {} | `", asked.name)), "{}", asked.name);
    }
    assert!(table.lines().all(|line| line.matches('|').count() == 5), "{table}");
}

/// `docs/ledger.md` has the table between two comments.
#[test]
fn the_documentation_has_the_table() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/ledger.md");
    let text = std::fs::read_to_string(page).unwrap();
    let (_, rest) = text.split_once("<!-- fields -->\n").unwrap();
    let (table, _) = rest.split_once("<!-- /fields -->\n").unwrap();
    assert!(table == fields_table(), "docs/ledger.md should have:\n{}", fields_table());
}

/// And the table of a fuller model, in which every place holds a value, and what has no place says so.
#[test]
fn the_documentation_says_where_the_fields_of_a_fuller_model_are() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/ledger.md");
    let text = std::fs::read_to_string(page).unwrap();
    let (_, rest) = text.split_once("<!-- model -->\n").unwrap();
    let (table, _) = rest.split_once("<!-- /model -->\n").unwrap();
    let mut places = 0;
    for row in table.lines().skip(2) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [_, field, kind, pointers, remark, _] = cells[..] else { panic!("{row}") };
        if kind.is_empty() {
            assert!(pointers.is_empty() && remark.starts_with("not "), "{field}");
            continue;
        }
        let event = entry_json(&sample::full(kind.trim_matches('`')));
        for pointer in pointers.split(", ").map(|pointer| pointer.trim_matches('`')) {
            let found = values(&event, pointer);
            assert!(!found.is_empty() && found.iter().all(|value| !value.is_null()), "`{pointer}` of {kind} for {field}");
            places += 1;
        }
    }
    assert!(places > 60, "{places}");
}

/// What stands at a pointer in which `*` is every element.
fn values<'a>(value: &'a Value, pointer: &str) -> Vec<&'a Value> {
    let mut found = vec![value];
    for step in pointer.split('/').skip(1) {
        found = found
            .into_iter()
            .flat_map(|value| match (step, value) {
                ("*", Value::Array(list)) => list.iter().collect(),
                (_, value) => value.get(step).into_iter().collect::<Vec<_>>(),
            })
            .collect();
    }
    found
}
