//! Whether docs/chat-load.md says what is in the JSON.

use serde_json::Value;

/// Panics if the page lacks a key of the JSON under a heading. What stands under the keys in `free` is named by others.
pub(crate) fn assert_documented(heading: &str, json: &Value, free: &[&str]) {
    let page = include_str!("../../../../docs/chat-load.md");
    let section = page.split("\n## ").find(|section| section.starts_with(heading)).unwrap();
    assert_named(section, json, free);
}

fn assert_named(section: &str, json: &Value, free: &[&str]) {
    match json {
        Value::Object(fields) => {
            for (key, value) in fields {
                assert!(section.contains(&format!("`{key}`")), "{key} is documented nowhere");
                if !free.contains(&key.as_str()) {
                    assert_named(section, value, free);
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| assert_named(section, value, free)),
        _ => {}
    }
}
