//! Templates: which strings of a definition are expressions, and where errors are.

use hookwright::expression::{Mode, Template};

use super::{Fixed, VARIABLES, json, value};

#[test]
fn templates_evaluate_whole_strings_only() {
    let field = value(
        r#"{"id":"${ .id }","plain":".id","dollar":"$context","n":1,
            "list":["x","${ $context.source }",{"${ .k }":"${.id}"}],"lit":"${ \"${\" }"}"#,
    );
    let template = Template::compile(&field, &VARIABLES, Mode::Value).unwrap();
    let result = template
        .evaluate(&value(r#"{"id":"${ .evil }"}"#), &Fixed)
        .unwrap();
    let expected = concat!(
        r#"{"id":"${ .evil }","plain":".id","dollar":"$context","n":1,"#,
        r#""list":["x","shop",{"${ .k }":"${ .evil }"}],"lit":"${"}"#,
    );
    assert_eq!(json(&result), expected);
    let literal = Template::compile(&value(r#"{"a":[".b"]}"#), &VARIABLES, Mode::Value).unwrap();
    assert!(matches!(literal, Template::Literal(_)));
}

#[test]
fn expression_fields_take_strings_with_and_without_braces() {
    for (mode, field, expected) in [
        (Mode::Expression, "\".id\"", "7"),
        (Mode::Expression, "\"${ .id }\\n\"", "7"),
        (Mode::Expression, "\" { a: .id } \"", r#"{"a":7}"#),
        (Mode::Expression, "\"\\\"${\\\"\"", r#""${""#),
        (
            Mode::Expression,
            r#"{"a":".id","b":"${.id}"}"#,
            r#"{"a":".id","b":7}"#,
        ),
        (Mode::Value, "\".id\"", "\".id\""),
        (Mode::Value, "\"${ {a: {b: .id}} }\"", r#"{"a":{"b":7}}"#),
        (Mode::Value, r#""${ \"}\\(.id){\" }""#, r#""}7{""#),
        (Mode::Value, "\"costs $5 {a}\"", "\"costs $5 {a}\""),
    ] {
        let template = Template::compile(&value(field), &VARIABLES, mode);
        let template = template.unwrap_or_else(|e| panic!("{field}: {e:?}"));
        let result = template.evaluate(&value(r#"{"id":7}"#), &Fixed).unwrap();
        assert_eq!(json(&result), expected, "{field}");
    }
}

#[test]
fn template_errors_come_all_at_once_with_their_pointers() {
    let field = value(
        r#"{"a/b":["ok","id ${ .id }"],"c":{"~":"${ .x ' }"},
            "d":"${ .a } and ${ .b }","e":"${ .a"}"#,
    );
    let errors = Template::compile(&field, &VARIABLES, Mode::Value).unwrap_err();
    let pointers: Vec<&str> = errors.iter().map(|(pointer, _)| pointer.as_str()).collect();
    assert_eq!(pointers, ["/a~1b/1", "/c/~0", "/d", "/e"]);
    let hint = errors[0].1.hint.as_deref().unwrap();
    assert!(
        hint.contains(r#"${ "id \(.id)" }"#) && hint.contains("{id}"),
        "{hint}"
    );
    let errors = Template::compile(&value("\".a |\""), &VARIABLES, Mode::Expression).unwrap_err();
    assert_eq!(errors[0].0, "");
}
