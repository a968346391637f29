//! Values that came from nowhere, as far as their own key knows.

use serde_json::Value;

use crate::model::key_text;
use crate::{History, OpEnd};

/// An operation on another key that may have put `value` there: a place in `History::ops`. The value must say
/// more than a small number would for this to be more than chance; nothing checks that.
pub(super) fn elsewhere(history: &History, key: &str, value: &Value) -> Option<usize> {
    let is_writer = |f: &str| !matches!(f, "read" | "get" | "dequeue" | "contains" | "remove");
    history.ops.iter().position(|op| {
        op.end != OpEnd::Fail && is_writer(&op.f) && op.input == *value && key_text(&op.key) != key
    })
}
