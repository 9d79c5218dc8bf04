//! Schemas and payloads as their authors write them.

use serde_json::{Value, json};

use super::*;

fn schema(value: Value) -> Schema {
    Schema::parse(&value.to_string()).map(|(schema, _)| schema).unwrap()
}

fn refusal(value: Value) -> String {
    Schema::parse(&value.to_string()).err().unwrap()
}

#[test]
fn a_payload_comes_out_compact_and_sorted() {
    let text = schema(json!({})).check(&json!({"b": [1, "x\n"], "a": {"d": null, "c": 1.5}})).unwrap();
    assert_eq!(text, r#"{"a":{"c":1.5,"d":null},"b":[1,"x\n"]}"#);
}

#[test]
fn a_payload_that_does_not_fit_is_told_where_and_why() {
    let schema = schema(json!({"properties": {"keys": {"items": {"type": "string"}}}, "required": ["name"]}));
    let error = schema.check(&json!({"name": "x", "keys": ["a", 5]})).unwrap_err();
    assert_eq!(error.field, "/keys/1");
    assert_eq!(error.message, r#"/keys/1: 5 is not of type "string""#);
    let error = schema.check(&json!({})).unwrap_err();
    assert_eq!((error.field.as_str(), error.message.as_str()), ("", r#""name" is a required property"#));
}

#[test]
fn a_property_where_there_may_be_none_is_named() {
    let nothing = schema(json!({"properties": {"a": {"additionalProperties": false}}}));
    let error = nothing.check(&json!({"a": {"to": 5}})).unwrap_err();
    assert_eq!(error.message, "/a: Additional properties are not allowed ('to' was unexpected)");
    let some = schema(json!({"properties": {"a": {}}, "additionalProperties": false}));
    let error = some.check(&json!({"to": 5})).unwrap_err();
    assert_eq!(error.message, "Additional properties are not allowed ('to' was unexpected)");
}

/// As schemars writes an enum whose variants have comments.
#[test]
fn a_value_that_is_none_of_those_listed_is_told_with_them() {
    for keyword in ["oneOf", "anyOf"] {
        let all = json!({"type": "string", "const": "all", "description": "Each"});
        let schema =
            schema(json!({"properties": {"which": {keyword: [all, {"enum": ["released", "next"]}]}}}));
        let error = schema.check(&json!({"which": "none"})).unwrap_err();
        assert_eq!(error.message, r#"/which: "none" is not one of "all" or "released" or "next""#);
        schema.check(&json!({"which": "next"})).unwrap();
    }
}

/// As schemars writes enums whose variants hold data.
#[test]
fn of_several_the_one_that_is_meant_says_what_is_wrong_or_all_are_named() {
    let text = || json!({"type": "string"});
    let internal = json!({"oneOf": [
        {
            "type": "object",
            "required": ["kind", "href"],
            "properties": {"kind": {"type": "string", "const": "url"}, "href": text()},
        },
        {"type": "object", "required": ["kind"], "properties": {"kind": {"type": "string", "const": "none"}}},
    ]});
    let external = json!({"oneOf": [
        {"type": "string", "enum": ["all"]},
        {"type": "object", "required": ["url"], "properties": {"url": text()}, "additionalProperties": false},
        {"type": "object", "required": ["text"], "properties": {"text": text()}, "additionalProperties": false},
    ]});
    let optional = json!({"anyOf": [internal, {"type": "null"}]});
    let schema = schema(json!({"properties": {"in": internal, "maybe": optional, "ex": external}}));
    for (payload, field, words) in [
        (json!({"in": {"kind": "ftp"}}), "/in/kind", r#""ftp" is not one of "url" or "none""#),
        (json!({"maybe": {"kind": "ftp"}}), "/maybe/kind", r#""ftp" is not one of "url" or "none""#),
        (json!({"in": {"kind": "url"}}), "/in", r#""href" is a required property"#),
        (json!({"in": {"kind": "url", "href": 5}}), "/in/href", r#"5 is not of type "string""#),
        (json!({"in": {}}), "/in", r#""kind" is a required property"#),
        (json!({"in": "url"}), "/in", r#""url" is not of type "object""#),
        (json!({"ex": "some"}), "/ex", r#""some" is not one of "all" or an object"#),
        (json!({"ex": {"uri": "a"}}), "/ex", r#"{uri: …} is not one of "all" or {url: …} or {text: …}"#),
        (json!({"ex": {"url": 5}}), "/ex/url", r#"5 is not of type "string""#),
    ] {
        let error = schema.check(&payload).unwrap_err();
        assert_eq!((error.field.as_str(), error.message), (field, format!("{field}: {words}")), "{payload}");
    }
    for payload in [json!({"in": {"kind": "none"}}), json!({"maybe": null}), json!({"ex": {"text": "a"}})] {
        schema.check(&payload).unwrap();
    }
    // alone it is always meant
    let alone = self::schema(json!({"oneOf": [{"properties": {"kind": {"const": "a"}}}]}));
    assert_eq!(alone.check(&json!({"kind": "b"})).unwrap_err().message, r#"/kind: "a" was expected"#);
}

#[test]
fn a_payload_has_a_size() {
    let text = "x".repeat(PAYLOAD - 2);
    assert!(schema(json!({})).check(&json!(text)).is_ok());
    let error = schema(json!({})).check(&json!(format!("{text}x"))).unwrap_err();
    assert_eq!(error.message, "it has 262145 bytes, more than the 262144 allowed");
    let wide = schema(json!({"items": {"enum": (0..1000).collect::<Vec<_>>()}}));
    let error = wide.check(&json!(vec![0; 100_000])).unwrap_err();
    assert!(error.message.starts_with("it has 100001 values, more than the"), "{}", error.message);
}

#[test]
fn patterns_are_matched_with_so_much_that_it_takes_seconds_at_worst() {
    // it may be in each of its states at each letter
    let slow = schema(json!({"pattern": "^[ab]*a[ab]{2000}$"}));
    let error = slow.check(&json!("a".repeat(PAYLOAD - 2))).unwrap_err();
    assert!(error.message.starts_with("its strings have 262142 bytes, more than the"), "{}", error.message);
    let error = slow.check(&json!("b")).unwrap_err();
    assert!(error.message.contains("does not match"), "{}", error.message);
    assert!(slow.is_quick(&json!("b")) && !slow.is_quick(&json!("a".repeat(1000))));
    // what people write goes with any payload
    let usual = schema(json!({"properties": {"name": {"pattern": "^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$"}}}));
    usual.check(&json!({"name": "jira", "text": "x".repeat(250_000)})).unwrap();
    let wide = schema(json!({"items": {"enum": (0..1000).collect::<Vec<_>>()}}));
    assert!(wide.is_quick(&json!([1])) && !wide.is_quick(&json!(vec![0; 1000])));
}

#[test]
fn references_definitions_and_expensive_keywords_are_refused_with_their_place() {
    for (value, words) in [
        (json!({"items": {"$ref": "#"}}), r#""$ref" at /items/$ref is not allowed"#),
        (json!({"$defs": {}}), r#""$defs" at /$defs is not allowed"#),
        (json!({"allOf": [{"$dynamicRef": "#x"}]}), r#""$dynamicRef" at /allOf/-/$dynamicRef"#),
        (json!({"unevaluatedProperties": false}), "use additionalProperties"),
        (json!({"$schema": "http://json-schema.org/draft-07/schema#"}), "2020-12"),
        (
            json!({"properties": {"type": {"type": "int"}}}),
            r#"at "/properties/type/type": "int" is no type; there are array, boolean, integer, null, number, object, string"#,
        ),
        (json!({"properties": {"type": "string"}}), r#"at "/properties/type": "string" is not of types"#),
        (json!({"type": ["string", "nul"]}), r#"is no type; there are"#),
        (json!({"pattern": "(a)\\1"}), r#"at "/pattern""#),
        (json!({"pattern": "(?=a)"}), r#"at "/pattern""#),
        (json!({"pattern": "\\w{5000}"}), r#"at "/pattern""#),
        (json!(5), "at"),
    ] {
        let refusal = refusal(value.clone());
        assert!(refusal.contains(words), "{value}: {refusal}");
    }
    assert!(Schema::parse("{").err().unwrap().starts_with("it is not JSON"));
}

#[test]
fn a_refusal_is_short_however_long_the_keys_are() {
    let long = "x".repeat(BYTES / 2);
    let refusal = refusal(json!({"properties": {&long: {"$ref": "#"}}}));
    assert!(refusal.len() < 2048 && refusal.ends_with("write the schema out"), "{refusal}");
    let error =
        schema(json!({"additionalProperties": {"type": "string"}})).check(&json!({&long: 5})).unwrap_err();
    assert!(
        error.message.len() < 4096 && error.message.ends_with("is not of type \"string\""),
        "{}",
        error.message
    );
}

#[test]
fn a_schema_has_a_size() {
    let deep = (0..33).fold(json!({}), |inner, _| json!({ "not": inner }));
    assert!(refusal(deep).starts_with("it is nested more than 32 levels deep"));
    assert_eq!(refusal(json!({"enum": vec![0; 2000]})), "it has more than 2000 values");
    assert_eq!(refusal(json!({"title": "x".repeat(BYTES)})), "it has 65548 bytes, more than 65536");
    let patterns: serde_json::Map<_, _> = (0..65).map(|i| (format!("x{i}"), json!({}))).collect();
    assert!(refusal(json!({"patternProperties": patterns})).contains("may have 64 patterns"));
}

#[test]
fn a_string_that_names_a_secret_is_found_where_the_payload_has_it() {
    let name = || json!({"type": "string", "x-kubeopencode-secret": true});
    let schema = schema(json!({"properties": {
        "token": name(),
        "login": {"properties": {"a/b~c": name(), "user": {"x-kubeopencode-secret": false}}},
    }}));
    let fields: Vec<_> = schema.secret_fields().iter().map(ToString::to_string).collect();
    assert_eq!(fields, ["/login/a~1b~0c", "/token"]);

    for elsewhere in [
        json!({"anyOf": [{"properties": {"token": name()}}]}),
        json!({"prefixItems": [name()]}),
        json!({"patternProperties": {"a": {}}, "additionalProperties": name()}),
        json!({"default": {"x-kubeopencode-secret": true}}),
    ] {
        let refusal = refusal(elsewhere.clone());
        assert!(refusal.contains("stands where it means nothing"), "{elsewhere}: {refusal}");
    }
    assert!(refusal(json!({"x-kubeopencode-secret": "yes"})).contains("write true"));
}

/// The validator would keep a copy of the whole list for each of them, 600 MB.
#[test]
fn of_a_large_value_that_may_be_one_of_many_it_is_not_told_what_is_wrong_where() {
    let of = |members: usize| schema(json!({"anyOf": vec![json!({"type": "string"}); members]}));
    let list = |items: usize| json!(vec!["0123456789"; items]);
    let error = of(990).check(&list(10_000)).unwrap_err();
    assert_eq!(error.field, "");
    assert_eq!(
        error.message,
        "it does not match its schema; where is not told of so many values, which may be one of several (anyOf, oneOf)"
    );
    let error = of(20).check(&list(1000)).unwrap_err();
    assert!(error.message.starts_with(r#"["0123456789","#), "{}", error.message);
    of(990).check(&json!("one")).unwrap();
    schema(json!({"anyOf": vec![json!({"type": "array"}); 990]})).check(&list(10_000)).unwrap();
}
