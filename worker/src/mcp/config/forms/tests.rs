//! Forms of values, as libraries encode them.

use base64::engine::general_purpose::{STANDARD, URL_SAFE};

use super::*;

const VALUE: &str = "p/ss w\u{f6}rd?\"1\"+>>>";

fn all(value: &str) -> BTreeSet<String> {
    let ValueForms { texts, base64 } = of(value);
    &texts | &base64
}

fn is_found(text: &str) -> bool {
    all(VALUE).iter().any(|form| text.contains(form.as_str()))
}

#[test]
fn value_is_found_within_json_and_addresses() {
    let texts = [
        format!("plain {VALUE} text"),
        serde_json::json!({ "a": VALUE }).to_string(),
        r#"{"a":"p\/ss w\u00f6rd?\"1\"+>>>"}"#.replace("\\/", "/"),
        "https://h/?q=p%2Fss%20w%C3%B6rd%3F%221%22%2B%3E%3E%3E&x=1".to_owned(),
        "https://h/?q=p%2fss%20w%c3%b6rd%3f%221%22%2b%3e%3e%3e&x=1".to_owned(),
        "q=p%2Fss+w%C3%B6rd%3F%221%22%2B%3E%3E%3E".to_owned(),
    ];
    for text in texts {
        assert!(is_found(&text), "{text}");
    }
}

#[test]
fn value_is_found_in_the_encodings_of_libraries() {
    let value = "a<b>&'\"+=/~ *(\u{e9})\u{1f600}\\\n!";
    let forms = all(value);
    let found = |text: &str| forms.iter().any(|form| text.contains(form.as_str()));
    for text in [
        // Go, Gson, .NET, Python, PHP, Java.
        r#""a\u003cb\u003e\u0026'\"+=/~ *(é)😀\\\n!""#,
        r#""a\u003cb\u003e\u0026\u0027\"+\u003d/~ *(é)😀\\\n!""#,
        r#""a\u003Cb\u003E\u0026\u0027\u0022\u002B=/~ *(\u00E9)\uD83D\uDE00\\\n!""#,
        r#""a<b>&'\"+=/~ *(\u00e9)\ud83d\ude00\\\n!""#,
        r#""a<b>&'\"+=\/~ *(\u00e9)\ud83d\ude00\\\n!""#,
        r#""a<b>&'\"+=/~ *(\u00E9)\uD83D\uDE00\\\n!""#,
        // JSON within JSON: any language, Go, Python, PHP.
        r#"{"a":"{\"t\":\"a<b>&'\\\"+=/~ *(é)😀\\\\\\n!\"}"}"#,
        r#"{"a":"{\"t\":\"a\\u003cb\\u003e\\u0026'\\\"+=/~ *(é)😀\\\\\\n!\"}"}"#,
        r#"{"a":"{\"t\":\"a<b>&'\\\"+=/~ *(\\u00e9)\\ud83d\\ude00\\\\\\n!\"}"}"#,
        r#"{"a":"{\"t\":\"a<b>&'\\\"+=\\\/~ *(\\u00e9)\\ud83d\\ude00\\\\\\n!\"}"}"#,
        // Python's quote, JavaScript's encodeURI, Java's URLEncoder, PHP's urlencode, .NET's WebUtility, all in lower case.
        "a%3Cb%3E%26%27%22%2B%3D/~%20%2A%28%C3%A9%29%F0%9F%98%80%5C%0A%21",
        "a%3Cb%3E&'%22+=/~%20*(%C3%A9)%F0%9F%98%80%5C%0A!",
        "a%3Cb%3E%26%27%22%2B%3D%2F%7E+*%28%C3%A9%29%F0%9F%98%80%5C%0A%21",
        "a%3Cb%3E%26%27%22%2B%3D%2F%7E+%2A%28%C3%A9%29%F0%9F%98%80%5C%0A%21",
        "a%3Cb%3E%26%27%22%2B%3D%2F%7E+*(%C3%A9)%F0%9F%98%80%5C%0A!",
        "a%3cb%3e%26%27%22%2b%3d%2f%7e+%2a%28%c3%a9%29%f0%9f%98%80%5c%0a%21",
        "a%253Cb%253E%2526%2527%2522%252B%253D%252F~%2520%252A%2528%25C3%25A9%2529%25F0%259F%2598%2580%255C%250A%2521",
        // Python, Go, PHP, XML.
        "a&lt;b&gt;&amp;&#x27;&quot;+=/~ *(é)😀\\\n!",
        "a&lt;b&gt;&amp;&#39;&#34;+=/~ *(é)😀\\\n!",
        "a&lt;b&gt;&amp;&#039;&quot;+=/~ *(é)😀\\\n!",
        "a&lt;b&gt;&amp;&apos;&quot;+=/~ *(é)😀\\\n!",
    ] {
        assert!(found(text), "{text}");
    }
    let long = all(&format!("{value}{}", "z".repeat(200)));
    assert!(long.len() <= 70 && long.len() > 45, "{} forms", long.len());
    assert!(all("sk-live-0123456789abcdef").len() <= 12, "an ordinary token");
}

#[test]
fn value_is_found_at_any_offset_in_base64() {
    for before in ["", "u", "us", "usr", "user:"] {
        for after in ["", "1", "12", "123"] {
            let text = format!("{before}{VALUE}{after}");
            for encoded in [STANDARD.encode(&text), URL_SAFE.encode(&text), STANDARD_NO_PAD.encode(&text)] {
                assert!(is_found(&encoded), "{before}|{after}: {encoded}");
            }
        }
    }
    assert!(of("pin4").base64.contains("cGluNA"), "a short value by itself");
}

#[test]
fn other_texts_are_not_found() {
    for text in ["p", "ss w", "password", "cGFzc3dvcmQ="] {
        assert!(!is_found(text), "{text}");
    }
}
