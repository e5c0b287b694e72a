//! Durations in rules of the API server. CEL's `duration()` is an error for what it cannot hold, and the
//! error names neither the field nor the cause: each rule asks first whether the text is too long.

/// A CEL expression: the field is there, and holds a million hours or more.
macro_rules! too_long {
    ($field:literal) => {
        concat!(
            "(has(",
            $field,
            ") && ",
            $field,
            ".matches('(^|[^0-9.])([0-9]{7,}([.][0-9]+)?h|[0-9]{9,}([.][0-9]+)?m([^s]|$)|[0-9]{10,}([.][0-9]+)?s|[0-9]{13,})'))"
        )
    };
}

pub(crate) use too_long;
