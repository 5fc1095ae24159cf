//! The grammar: what a source may write for itself, and how its faults are told.

use super::*;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hookwright::signature::Parts;
use hookwright::workflow::document::{self, Fault, Faults, Place};

/// Compiles the `verify:`, `event:`, … members of a document, as a source does.
fn compile(text: &str) -> Result<Scheme, Vec<Fault>> {
    let node = document::read(text).map_err(|fault| vec![fault])?;
    let faults = Faults::new();
    let scheme = Place::root(&node, &faults).object().and_then(|object| {
        let attributes = object.optional("attributes");
        let parts = Parts {
            verify: object.required("verify")?,
            event: object.optional("event"),
            handshake: object.optional("handshake"),
            acknowledge: object.optional("acknowledge"),
        };
        object.finish();
        let scheme = Scheme::compile(&parts)?;
        match attributes {
            Some(place) => scheme.with_attributes(&place),
            None => Some(scheme),
        }
    });
    faults.result(scheme)
}

fn compiled(text: &str) -> Scheme {
    compile(text).expect("a scheme without faults")
}

const TOKEN: &str = "
verify:
  scheme: token
  checks:
    - { value: '{header:X-Token}', equals: '{secret:token}' }
";

#[test]
fn a_source_can_bring_a_tree_of_its_own() {
    let scheme = compiled(
        r#"
verify:
  scheme: hmac
  algorithm: sha512
  key: { secret: key, decode: hex }
  signature: { in: header, name: X-Sig, prefix: "v=", prefixOptional: true, encoding: base64url }
  content: "{method}\n{path}\n{url}\n{header:X-A,X-B}|{query:q}{{}}{json:/a/0/b,/c}{body|sha256hex}"
  timestamp: { value: "{header:X-Time}", unit: rfc3339, tolerance: 10 }
event:
  id: "{body|sha256hex}"
  type: [ "{json:/kind}", "{header:X-Kind}" ]
  subject: "{json:/c}"
attributes: { shop: "{header:X-Shop}", absent: "{header:X-None}" }
acknowledge: { status: 202, contentType: text/plain, body: "[accepted]" }
"#,
    );
    assert_eq!(scheme.secret_names(), ["key"]);
    let keys = one(&scheme, "00ff10");
    let headers = [("X-B", "b"), ("X-Kind", "k"), ("X-Shop", "s")];
    let mut request = Request::new(r#"{"c":7}"#, &headers);
    request.path_and_query = "/hooks/x?q=%41+1".to_owned();
    assert!(
        scheme.sign(&request.delivery(), &keys).is_err(),
        "the URL is not registered"
    );
    request.url = Some("https://example.com/hooks/x?q=%41+1".to_owned());
    let mut request = request.signed(&scheme, &keys);
    assert!(scheme.verify(&request.delivery(), &keys).is_ok());
    let facts = scheme.facts(&request.delivery());
    assert_eq!(facts.event_id.map(|id| id.len()), Some(64));
    assert_eq!(facts.kind.as_deref(), Some("k"));
    assert_eq!(facts.subject.as_deref(), Some("7"));
    assert_eq!(facts.attributes, [("shop".to_owned(), "s".to_owned())]);
    let answer = scheme.acknowledgement().expect("a literal answer");
    assert_eq!((answer.status, &answer.body[..]), (202, &b"[accepted]"[..]));
    request.path_and_query = "/hooks/x?q=A+2".to_owned();
    let verdict = scheme.verify(&request.delivery(), &keys);
    assert_eq!(verdict, Err(Cause::SignatureMismatch));
}

#[test]
fn tokens_are_compared_whole_and_masked() {
    let scheme = compiled(TOKEN);
    let keys = one(&scheme, "s3cret");
    let verdict = |value| {
        let request = Request::new("{}", &[("X-Token", value)]);
        scheme.verify(&request.delivery(), &keys).map(|_| ())
    };
    assert_eq!(verdict("s3cret"), Ok(()));
    assert_eq!(verdict("s3cre"), Err(Cause::CheckFailed));
    assert_eq!(verdict("s3crets"), Err(Cause::CheckFailed));
    let none = Request::new("{}", &[]);
    assert_eq!(
        scheme.verify(&none.delivery(), &keys),
        Err(Cause::SignatureMissing)
    );
    let blank = one(&scheme, "");
    assert_eq!(
        scheme.verify(&none.delivery(), &blank),
        Err(Cause::SecretMissing)
    );
    assert!(
        scheme
            .credential_headers()
            .contains(&HeaderName::from_static("x-token"))
    );
}

#[test]
fn basic_authentication_needs_both_halves() {
    let scheme = compiled(
        "verify: { scheme: basic, username: { secret: user }, password: { secret: pass } }",
    );
    let named = [("user", "ann"), ("pass", "a:b")];
    let named = named.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let keys = keys(&scheme, Secret::Named(named.into()));
    let verdict = |credentials: &str| {
        let value = format!("bASIC {}", BASE64_STANDARD.encode(credentials));
        let request = Request::new("{}", &[("Authorization", &value)]);
        scheme.verify(&request.delivery(), &keys).map(|_| ())
    };
    assert_eq!(verdict("ann:a:b"), Ok(()));
    assert_eq!(verdict("ann:a"), Err(Cause::CheckFailed));
    assert_eq!(verdict("bob:a:b"), Err(Cause::CheckFailed));
    assert_eq!(verdict("ann"), Err(Cause::SignatureMalformed));
    let bearer = Request::new("{}", &[("Authorization", "Bearer x")]);
    let verdict = scheme.verify(&bearer.delivery(), &keys);
    assert_eq!(verdict, Err(Cause::SignatureMalformed));
}

#[test]
fn first_never_falls_back_to_a_weaker_form_that_is_not_the_one_offered() {
    let leaf = |key: &str| {
        format!(
            "{{ scheme: hmac, algorithm: sha256, key: {{ secret: s }}, content: '{key}{{body}}', \
             signature: {{ in: header, name: X-Sig, split: ',', kv: '=', keys: [{key}], \
             encoding: hex }} }}"
        )
    };
    let strong = compiled(&format!("verify: {}", leaf("v1")));
    let weak = compiled(&format!("verify: {}", leaf("v0")));
    let first = compiled(&format!(
        "verify: {{ first: [ {}, {} ] }}",
        leaf("v1"),
        leaf("v0")
    ));
    let keys = one(&first, "s");
    let signed = |scheme: &Scheme| Request::new("{}", &[]).signed(scheme, &keys);
    let text = |request: &Request| request.headers["x-sig"].to_str().expect("text").to_owned();
    let (old, new) = (signed(&weak), signed(&strong));
    assert!(first.verify(&old.delivery(), &keys).is_ok());
    assert!(first.verify(&new.delivery(), &keys).is_ok());
    for bad in ["v1=00", "v1=zz"] {
        let both = format!("{},{bad}", text(&old));
        let request = Request::new("{}", &[("X-Sig", &both)]);
        assert!(
            first.verify(&request.delivery(), &keys).is_err(),
            "{bad} was offered"
        );
    }
}

#[test]
fn all_needs_every_branch_and_unverified_is_never_in_the_grammar() {
    let scheme = compiled(
        "
verify:
  all:
    - { scheme: token, checks: [ { value: '{query:k}', equals: '{secret:k}' } ] }
    - { scheme: token, checks: [ { value: '{form:f}', equals: '{secret:k}' } ] }
",
    );
    let keys = one(&scheme, "x y");
    let mut request = Request::new("f=x%20y", &[]);
    assert!(scheme.verify(&request.delivery(), &keys).is_err());
    request.path_and_query = "/hooks/a?k=x+y".to_owned();
    assert!(scheme.verify(&request.delivery(), &keys).is_ok());
    for word in ["none", "unverified", "Unverified"] {
        assert!(compile(&format!("verify: {{ scheme: {word} }}")).is_err());
        assert!(compile(&format!("verify: {word}")).is_err());
    }
    assert!(compile("verify: { all: [] }").is_err());
    assert!(compile("verify: {}").is_err());
    assert!(!Scheme::unverified().is_verifying());
}

#[test]
fn faults_name_their_places_all_at_once() {
    let text = r#"verify:
  scheme: hmac
  algoritm: sha256
  algorithm: md5
  key: { secret: "" }
  signature: { in: heder, name: X-Sig, encoding: hex, kv: "=" }
  content: "{boddy}"
  timestamp: { value: "{secret:s}", unit: s, tolerance: 0 }
handshake: [ { when: {}, verify: maybe, respond: { status: 500 } } ]
"#;
    let faults = compile(text).expect_err("a document full of faults");
    let shown: Vec<_> = faults.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(shown.join("\n"));
}

#[test]
fn schemes_that_verify_nothing_are_refused() {
    let refused = [
        "verify: { scheme: token, checks: [ { value: '{header:A}', equals: 'x' } ] }",
        "verify: { scheme: digest, algorithm: sha256, content: '{body}', \
         signature: { in: header, name: A, encoding: hex } }",
        "verify: { scheme: hmac, algorithm: sha256, key: { secret: s }, content: '{body}{', \
         signature: { in: header, name: A, encoding: hex } }",
    ];
    for text in refused {
        assert!(compile(text).is_err(), "{text}");
    }
}
