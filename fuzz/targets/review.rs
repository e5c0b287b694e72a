//! Whatever is sent to the webhook is no review, or is answered: with the same uid, and with a patch of
//! bounded size.
#![no_main]

use countersign_operator::inject::fuzzing::reviewed;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|body: &[u8]| {
    let Some(answer) = reviewed(body) else { return };
    assert!(answer.len() < 256 * 1024 + 64 * body.len(), "{} of {}", answer.len(), body.len());
    let answer: Value = serde_json::from_slice(&answer).expect("JSON");
    // What is passed over in a body may be what no value can hold.
    let Ok(asked) = serde_json::from_slice::<Value>(body) else { return };
    let response = &answer["response"];
    assert!(response["allowed"].is_boolean(), "{answer}");
    if asked["request"].is_object() {
        assert_eq!(response["uid"], asked["request"]["uid"], "{answer}");
    }
});
