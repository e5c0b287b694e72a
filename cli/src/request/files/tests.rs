//! A folder in which nothing is lost, and nothing is overwritten unasked.

use super::*;
use crate::support::key;

fn folder(name: &str, overwrites: bool) -> Folder {
    let name = format!("countersign-files-{}-{name}", std::process::id());
    Folder { path: std::env::temp_dir().join(name), overwrites }
}

fn signed(text: &str) -> Signed {
    Signed { chain: text.as_bytes().to_vec(), ca: Some(b"root".to_vec()) }
}

fn names(folder: &Folder) -> Vec<String> {
    let entries = fs::read_dir(&folder.path).expect("a folder");
    let names = entries.map(|it| it.expect("an entry").file_name().to_string_lossy().into_owned());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

fn spki(folder: &Folder, name: &str) -> Vec<u8> {
    let text = fs::read(folder.path.join(name)).expect("a key");
    PrivateKey::from_pem(&text).expect("a key").public_key_spki()
}

#[test]
fn a_key_waits_under_a_name_of_its_own_and_everything_is_put_in_place_at_once() {
    let folder = folder("first", false);
    let own = key();
    folder.is_ready(true).expect("free");
    folder.keep_key(&own).expect("kept");
    assert_eq!(names(&folder), ["tls.key.pending"]);
    let kept = folder.kept_key().expect("readable").expect("there");
    assert_eq!(kept.public_key_spki(), own.public_key_spki());
    let written = folder.finish(true, &signed("leaf")).expect("written");
    assert_eq!(written.key, Some(folder.path.join("tls.key")));
    assert_eq!(names(&folder), ["ca.crt", "tls.crt", "tls.key"]);
    #[cfg(unix)]
    for (name, expected) in [("", 0o700), ("tls.key", 0o600)] {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(folder.path.join(name)).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, expected, "{name}");
    }
    fs::remove_dir_all(&folder.path).expect("removed");
}

#[test]
fn what_is_there_is_overwritten_only_when_asked_and_only_when_there_is_something_better() {
    let first = folder("second", false);
    let (old, new) = (key(), key());
    first.keep_key(&old).expect("kept");
    first.finish(true, &signed("old")).expect("written");
    for with_key in [true, false] {
        let refused = first.is_ready(with_key).expect_err("taken").to_string();
        assert!(refused.contains("exists already") && refused.contains("--force"), "{refused}");
    }
    let again = Folder { overwrites: true, ..folder("second", false) };
    again.is_ready(true).expect("allowed");
    again.keep_key(&new).expect("kept");
    assert_eq!(spki(&again, "tls.key"), old.public_key_spki());
    again.forget_key().expect("forgotten");
    assert_eq!(names(&again), ["ca.crt", "tls.crt", "tls.key"]);
    again.keep_key(&new).expect("kept");
    again.finish(true, &signed("new")).expect("written");
    assert_eq!(spki(&again, "tls.key"), new.public_key_spki());
    assert_eq!(fs::read(again.path.join("tls.crt")).expect("it"), b"new");
    fs::remove_dir_all(&again.path).expect("removed");
}

#[test]
fn a_key_that_waits_is_not_thrown_away_unasked() {
    let folder = folder("third", false);
    folder.keep_key(&key()).expect("kept");
    let refused = folder.is_ready(true).expect_err("it waits").to_string();
    assert!(refused.contains("--resume") && refused.contains("--force"), "{refused}");
    assert!(folder.keep_key(&key()).is_err());
    folder.is_ready(false).expect("the key of a CSR is elsewhere");
    fs::remove_dir_all(&folder.path).expect("removed");
}

#[test]
fn the_certificate_of_a_key_that_is_elsewhere_joins_what_is_there() {
    let folder = folder("fourth", false);
    fs::create_dir_all(&folder.path).expect("a folder");
    fs::write(folder.path.join("tls.key"), "somebody's").expect("a file");
    folder.is_ready(false).expect("free");
    let without = Signed { ca: None, ..signed("leaf") };
    let written = folder.finish(false, &without).expect("written");
    assert_eq!((written.key, written.ca), (None, None));
    assert_eq!(names(&folder), ["tls.crt", "tls.key"]);
    assert_eq!(fs::read(folder.path.join("tls.key")).expect("it"), b"somebody's");
    fs::remove_dir_all(&folder.path).expect("removed");
}
