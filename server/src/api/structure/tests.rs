//! Values that are kept as a whole, within their bounds.

use serde::de::DeserializeSeed;
use serde_json::{Value, json};

use super::bounded_json::BoundedJsonShape;
use crate::api::http::ApiError;

fn read(json: &str, most: usize) -> Option<Result<Value, ApiError>> {
    let shape = BoundedJsonShape { param: "field", most };
    shape.deserialize(&mut serde_json::Deserializer::from_str(json)).unwrap()
}

#[test]
fn a_value_within_its_bound_is_kept_in_its_order() {
    let value = json!({"b": [1, -2, 2.5, null, true, "é\n"], "a": {"c": {}}, "d": []});
    let text = value.to_string();
    let kept = read(&text, text.len() + 16).unwrap().unwrap();
    assert_eq!(kept.to_string(), text);
    assert_eq!(read("null", 100), None);
}

#[test]
fn of_a_value_beyond_its_bound_the_size_is_told() {
    for text in [format!("[{}1]", "1,".repeat(500)), format!("{{\"a\":\"{}\"}}", "x".repeat(1000))] {
        match read(&text, 100) {
            Some(Err(ApiError::TooLong { bytes, limit: 100, .. })) => {
                assert!((990..=text.len() + 2).contains(&bytes), "{bytes} of {}", text.len());
            }
            other => panic!("{other:?}"),
        }
    }
}
