use super::*;

fn hex(text: &str) -> String {
    let subject = LiteralSubject::parse(text).expect(text);
    subject.der().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn refused(text: &str) -> LiteralSubjectError {
    LiteralSubject::parse(text).expect_err(text)
}

#[test]
fn the_first_part_of_the_text_is_the_last_of_the_name() {
    let wanted = "3025310b300906035504061302444531\
        0a3008060355040a130179310a300806035504031301 78";
    assert_eq!(hex("CN=x,O=y,C=DE"), wanted.replace(' ', ""));
    assert_eq!(hex(" cn = x , o=y,  2.5.4.6=DE "), hex("CN=x,O=y,C=DE"));
}

#[test]
fn several_values_of_a_step_are_one_set_in_the_order_of_der() {
    assert_eq!(hex("OU=b+OU=a,O=x"), hex("OU=a+OU=b,O=x"));
    assert_ne!(hex("OU=a+OU=b"), hex("OU=a,OU=b"));
}

#[test]
fn one_value_may_be_written_in_many_ways() {
    let ways = [
        (r"O=a\,b", "O=\"a,b\""),
        (r"O=a\2cb", "O=\"a\\2Cb\""),
        (r"O=\#1", r"O=\231"),
        (r"O=\ a\ ", "O=\" a \""),
        (r"O=K\c3\b6ln", "O=Köln"),
        (r"O=a\=b", "O=a=b"),
        ("O=#130178", "O=x"),
        ("O=#0c0178 ", "O=#0C0178"),
        (r#"O=\"a\" \\ \+ \; \< \>"#, r#"O="\"a\" \\ + ; < >""#),
    ];
    for (one, other) in ways {
        assert_eq!(hex(one), hex(other), "{one}");
    }
    assert_eq!(hex("O=#0c0178"), "300c310a3008060355040a0c0178");
}

#[test]
fn each_type_has_its_kind_of_string() {
    let last = |text: &str, value: &str| {
        let hex = hex(text);
        assert!(hex.ends_with(value), "{text}: {hex}");
    };
    last("DC=org", "160 36f7267".replace(' ', "").as_str());
    last("emailAddress=a@b", "1603614062");
    last("Email=a@b", "1603614062");
    last("C=DE", "13024445");
    last("SERIALNUMBER=7", "130137");
    last("UID=a*b", "0c03612a62");
    last("0.9.2342.19200300.100.1.25=org", "16036f7267");
    last("1.2.3.4=x", "06032a0304130178");
}

#[test]
fn the_common_name_is_found_however_it_is_written() {
    for text in ["O=y,CN=web", "2.5.4.3=web,O=y", "cn=#0c03776562", "OU=a+CN=web"] {
        let subject = LiteralSubject::parse(text).expect(text);
        assert_eq!(subject.common_name(), Some("web"), "{text}");
    }
    assert_eq!(LiteralSubject::parse("O=y").expect("a subject").common_name(), None);
}

#[test]
fn what_is_no_subject_is_refused_with_why() {
    use LiteralSubjectError as E;
    let name = |name: &str| name.to_owned();
    let cases = [
        ("", E::Empty),
        ("  ", E::Empty),
        ("CN", E::NoAssignment { part: name("CN") }),
        ("CN=a,", E::NoAssignment { part: name("") }),
        ("CN=a,,O=b", E::NoAssignment { part: name("") }),
        ("CN=a+", E::NoAssignment { part: name("") }),
        ("FOO=a", E::UnknownType { name: name("FOO") }),
        ("=a", E::UnknownType { name: name("") }),
        ("1.02=a", E::UnknownType { name: name("1.02") }),
        ("O=", E::EmptyValue { name: name("O") }),
        ("O= ,CN=a", E::EmptyValue { name: name("O") }),
        (r"O=a\", E::Escape { name: name("O") }),
        (r"O=a\x1", E::Escape { name: name("O") }),
        (r"O=a\1", E::Escape { name: name("O") }),
        ("O=a;CN=b", E::Unescaped { name: name("O"), character: ';' }),
        ("O=a\"b", E::Unescaped { name: name("O"), character: '"' }),
        ("O=\"a", E::Quotes { name: name("O") }),
        ("O=\"a\"b", E::Quotes { name: name("O") }),
        ("O=#", E::Hexadecimal { name: name("O") }),
        ("O=#13017", E::Hexadecimal { name: name("O") }),
        ("O=#13017878", E::Hexadecimal { name: name("O") }),
        (r"O=\ff", E::WrongText { name: name("O"), wanted: "UTF-8" }),
        ("CN=#040178", E::WrongText { name: name("CN"), wanted: "text" }),
        ("CN=a,CN=b", E::SeveralCommonNames),
        ("CN=a+CN=b", E::SeveralCommonNames),
    ];
    for (text, wanted) in cases {
        assert_eq!(refused(text), wanted, "{text}");
    }
    assert!(matches!(refused("C=D_"), E::WrongText { .. }));
    assert!(matches!(refused("DC=ö"), E::WrongText { .. }));
    let long = format!("CN={}", "a".repeat(5000));
    assert_eq!(refused(&long), E::TooLong { bytes: 5003 });
    let said = refused("FOO=a").to_string();
    assert!(said.contains("\"FOO\"") && said.contains("SERIALNUMBER"), "{said}");
}
