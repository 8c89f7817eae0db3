//! Random rows as text: mostly well-formed and fitting, with any white space, escapes, order and
//! repetition of members, and some broken.

use proptest::prelude::*;

/// JSON as text: numbers and the order and repetition of members are kept.
#[derive(Debug, Clone)]
enum Json {
    Word(String),
    Text(String),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

/// Prints with white space and escapes as `entropy` has it.
fn print(json: &Json, entropy: &mut u64, out: &mut String) {
    let space = |entropy: &mut u64, out: &mut String| {
        *entropy = entropy.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        out.push_str(["", "", "", "", " ", "\t", "  ", "\r"][(*entropy >> 60) as usize & 7]);
    };
    space(entropy, out);
    match json {
        Json::Word(word) => out.push_str(word),
        Json::Text(text) => print_text(text, entropy, out),
        Json::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                out.push_str(if i == 0 { "" } else { "," });
                print(item, entropy, out);
            }
            space(entropy, out);
            out.push(']');
        }
        Json::Object(members) => {
            out.push('{');
            for (i, (name, value)) in members.iter().enumerate() {
                out.push_str(if i == 0 { "" } else { "," });
                space(entropy, out);
                print_text(name, entropy, out);
                space(entropy, out);
                out.push(':');
                print(value, entropy, out);
            }
            space(entropy, out);
            out.push('}');
        }
    }
    space(entropy, out);
}

fn print_text(text: &str, entropy: &mut u64, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        *entropy = entropy.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        if c < ' ' || c == '"' || c == '\\' || *entropy >> 60 == 0 {
            let mut units = [0; 2];
            c.encode_utf16(&mut units).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04x}")));
        } else {
            out.push(c);
        }
    }
    out.push('"');
}

fn scalar() -> impl Strategy<Value = Json> {
    const WORDS: &[&str] =
        &["null", "true", "false", "nul", "tru", "0", "-1", "12", "01", "1.", "99999999999999999999"];
    prop_oneof![
        prop::sample::select(WORDS).prop_map(|w| Json::Word(w.into())),
        "-?[1-9][0-9]{0,18}(\\.[0-9]{1,17})?([eE][+-]?[0-9]{1,2})?".prop_map(Json::Word),
        any::<i64>().prop_map(|n| Json::Word(n.to_string())),
        "\\PC{0,12}".prop_map(Json::Text),
        "[a-z\"\\\\\n\t😀é]{0,20}".prop_map(Json::Text),
        "202[0-9]-[01][0-9]-[0-3][0-9]([T ][0-2][0-9]:[0-5][0-9](:[0-6][0-9]([.][0-9]{1,10})?)?(Z|[+-]0[0-9]:30)?)?"
            .prop_map(Json::Text),
        "([1-9][0-9]?h)?([1-9][0-9]?m)?([1-9]ms)?".prop_map(Json::Text),
    ]
}

fn member_name() -> impl Strategy<Value = String> {
    const NAMES: &[&str] = &[
        "id",
        "price",
        "ok",
        "name",
        "ts",
        "for",
        "tags",
        "sizes",
        "at",
        "path",
        "x",
        "y",
        "event_type",
        "type",
        "data",
        "declared",
        "a quite long name of a field that nothing declares",
    ];
    prop_oneof![9 => prop::sample::select(NAMES).prop_map(String::from), 1 => "[a-zé\"\\\\]{0,6}"]
}

fn json() -> impl Strategy<Value = Json> {
    scalar().prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::Array),
            prop::collection::vec((member_name(), inner), 0..4).prop_map(Json::Object),
        ]
    })
}

fn word(regex: &'static str) -> BoxedStrategy<Json> {
    regex.prop_map(Json::Word).boxed()
}

/// A value that fits the field, mostly.
fn fitting(name: &str) -> BoxedStrategy<Json> {
    let point = || {
        let x = word("-?[1-9][0-9]{0,9}|null");
        prop_oneof![
            4 => (x, word("-?[1-9][0-9]{0,9}\\.[0-9]{1,8}|null"))
                .prop_map(|(x, y)| Json::Object(vec![("y".into(), y), ("x".into(), x)])),
            1 => json(),
        ]
    };
    match name {
        "id" => word("-?[1-9][0-9]{0,17}"),
        "price" => word("-?[1-9][0-9]{0,6}(\\.[0-9]{1,12})?|null"),
        "ok" => word("true|false|null"),
        "name" => "\\PC{0,20}".prop_map(Json::Text).boxed(),
        "ts" => prop_oneof![
            "20[0-9][0-9]-0[1-9]-[0-2][1-9]T[01][0-9]:[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,9})?Z".prop_map(Json::Text),
            word("1[67][0-9]{11}"),
        ]
        .boxed(),
        "for" => prop_oneof!["[1-9][0-9]?h".prop_map(Json::Text), word("[1-9][0-9]{0,9}")].boxed(),
        "tags" => prop::collection::vec("[a-z]{0,9}".prop_map(Json::Text), 0..5).prop_map(Json::Array).boxed(),
        "sizes" => {
            prop::collection::vec(("[ab]{0,2}", word("-?[1-9][0-9]{0,5}|null")), 0..6).prop_map(Json::Object).boxed()
        }
        "at" => point().boxed(),
        "path" => prop::collection::vec(point(), 0..4).prop_map(Json::Array).boxed(),
        "event_type" | "type" => prop_oneof![
            4 => prop::sample::select(&["Wide", "Narrow", "Tag"][..]).prop_map(|n| Json::Text(n.into())),
            1 => "[A-Z]".prop_map(Json::Text),
        ]
        .boxed(),
        "data" => row(0).boxed(),
        _ => json().boxed(),
    }
}

/// An object whose members fit mostly; `data` in it only if `depth` is left.
fn row(depth: u32) -> impl Strategy<Value = Json> {
    let member = move || {
        member_name().prop_flat_map(move |name| {
            let value = if name == "data" && depth == 0 { scalar().boxed() } else { fitting(&name) };
            let any = if depth == 0 { scalar().boxed() } else { json().boxed() };
            (Just(name), prop_oneof![19 => value, 1 => any])
        })
    };
    let start = prop_oneof![
        Just(vec![]),
        Just(vec!["id"]),
        Just(vec!["id", "name"]),
        Just(vec!["event_type", "id", "name"]),
        Just(vec!["type", "name"]),
    ];
    let start = start.prop_flat_map(|names| {
        names.into_iter().map(|n| fitting(n).prop_map(move |v| (n.to_string(), v))).collect::<Vec<_>>()
    });
    (start, prop::collection::vec(member(), 0..6)).prop_map(|(mut members, more)| {
        members.extend(more);
        Json::Object(members)
    })
}

fn line() -> impl Strategy<Value = Vec<u8>> {
    let printed = |(json, mut entropy): (Json, u64)| {
        let mut out = String::new();
        print(&json, &mut entropy, &mut out);
        out.into_bytes()
    };
    let broken = (row(1), any::<u64>()).prop_map(printed).prop_flat_map(|line| {
        let byte = prop_oneof![prop::sample::select(b"{}[]\",:\\ 0-.eu".to_vec()), any::<u8>()];
        (Just(line), any::<prop::sample::Index>(), byte, 0..3).prop_map(|(mut line, at, byte, how)| {
            let at = at.index(line.len());
            match how {
                0 => line.truncate(at),
                1 => line[at] = byte,
                _ => line.insert(at, byte),
            }
            line
        })
    });
    prop_oneof![
        16 => (row(1), any::<u64>()).prop_map(printed),
        4 => broken,
        1 => (json(), any::<u64>()).prop_map(printed),
        1 => "[ \t\r]{0,3}".prop_map(String::into_bytes),
    ]
}

pub fn text() -> impl Strategy<Value = Vec<u8>> {
    (prop::collection::vec(line(), 0..12), any::<bool>()).prop_map(|(lines, ended)| {
        let mut text = lines.join(&b'\n');
        if ended {
            text.push(b'\n');
        }
        text
    })
}
