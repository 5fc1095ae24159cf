//! Destination documents: what is read, and what is said about what is wrong.

use std::time::Duration;

use hookwright::call::document::{Authentication, Carrier, Username};
use hookwright::call::retry::Policy;
use hookwright::call::{Document, parse};
use hookwright::secret::Reference;
use hookwright::workflow::definition::Backoff;

fn faults(text: &str) -> String {
    let faults = parse(text).unwrap_err();
    let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

#[test]
fn everything_a_destination_can_say_is_read() {
    let document = parse(
        "destination: crm
baseUrl: https://api.crm.example/v2
authentication: { apiKey: { in: header, name: X-Api-Key, value: { env: CRM_KEY } } }
headers: { X-Tenant: acme }
timeout: PT5S
retry:
  backoff: { linear: { increment: PT2S } }
  delay: PT0.5S
  jitter: { from: PT0S, to: PT1S }
  limit: { attempt: { count: 7, duration: PT3S }, duration: PT1H }
  statuses: [409, 5xx]
concurrency: 4
egress: { allow: [10.1.0.0/16, '127.0.0.1/32:9000'] }
idempotencyKey: X-Request-Id
",
    )
    .unwrap();
    assert_eq!(document.name, "crm");
    assert_eq!(document.base_url.as_str(), "https://api.crm.example/v2");
    assert_eq!(document.headers["x-tenant"], "acme");
    assert_eq!(document.timeout, Some(Duration::from_secs(3)));
    assert_eq!(document.concurrency, Some(4));
    assert_eq!(document.allow.len(), 2);
    assert_eq!(document.idempotency_key.unwrap(), "x-request-id");
    assert_eq!(
        document.authentication,
        Some(Authentication::ApiKey {
            carrier: Carrier::Header("x-api-key".parse().unwrap()),
            value: Reference::Env("CRM_KEY".to_owned()),
        })
    );
    assert_eq!(
        document.retry,
        Policy {
            attempts_max: 8,
            delay: Duration::from_millis(500),
            backoff: Backoff::Linear {
                increment: Some(Duration::from_secs(2))
            },
            jitter: Some((Duration::ZERO, Duration::from_secs(1))),
            duration_max: Some(Duration::from_secs(3600)),
            statuses: vec![409..=409, 500..=599],
        }
    );
}

#[test]
fn what_is_left_out_has_defaults() {
    let document =
        parse("{\"destination\": \"crm\", \"baseUrl\": \"http://crm.internal\"}").unwrap();
    assert_eq!(document.retry, Policy::default());
    assert_eq!(document.timeout, None);
    assert_eq!(document.concurrency, None);
    assert_eq!(document.idempotency_key.unwrap(), "idempotency-key");
}

fn authentication(text: &str) -> Authentication {
    let text = format!("destination: d\nbaseUrl: https://x.example\nauthentication: {text}");
    let Document { authentication, .. } = parse(&text).unwrap();
    authentication.unwrap()
}

#[test]
fn authentication_refers_to_secrets() {
    let sealed = |name: &str, member: Option<&str>| Reference::Sealed {
        name: name.to_owned(),
        member: member.map(str::to_owned),
    };
    assert_eq!(
        authentication("{ bearer: { token: { secret: crm.token } } }"),
        Authentication::Bearer {
            token: sealed("crm", Some("token")),
        }
    );
    assert_eq!(
        authentication("{ basic: { username: ann, password: { file: /run/secrets/pw } } }"),
        Authentication::Basic {
            username: Username::Plain("ann".to_owned()),
            password: Reference::File("/run/secrets/pw".to_owned()),
        }
    );
    assert_eq!(
        authentication("{ apiKey: { in: query, name: key, value: { secret: crm } } }"),
        Authentication::ApiKey {
            carrier: Carrier::Query("key".to_owned()),
            value: sealed("crm", None),
        }
    );
}

#[test]
fn all_faults_are_named_at_once_with_their_places() {
    let said = faults(
        "destination: CRM
baseURL: https://api.crm.example/v2
authentication: { bearer: { token: abc123 } }
headers: { Authorization: x, Host: y, X-A: [1] }
timeout: 5s
retry: { limit: { attempt: { count: -1 } }, backoff: { cubic: {} }, statuses: [200, 5yy] }
rateLimit: 10/week
concurrency: 0
egress: { allow: [10.0.0.0/99], deny: [] }
idempotencyKey: a b
",
    );
    assert!(!said.contains("abc123"), "no secret in a fault");
    // Without the hints, to keep the lines short.
    let said: Vec<&str> = said
        .lines()
        .filter_map(|line| line.split([';', '(']).next())
        .map(str::trim_end)
        .collect();
    insta::assert_snapshot!(said.join("\n"), @"
    1:1: `baseUrl` is missing here
    1:14 /destination: this is no name for a destination
    2:1 /baseURL: unknown key `baseURL`
    3:36 /authentication/bearer/token: a secret's value is never written into a definition
    4:12 /headers/Authorization: the header `Authorization` cannot be set here
    4:30 /headers/Host: the header `Host` cannot be set here
    4:44 /headers/X-A: this must be a string and is a list
    5:10 /timeout: not an ISO 8601 duration
    6:37 /retry/limit/attempt/count: this must be a whole number from 0 to 999
    6:54 /retry/backoff: `backoff` has exactly one member
    6:56 /retry/backoff/cubic: unknown key `cubic`
    6:80 /retry/statuses/0: this must be a whole number from 300 to 599
    6:85 /retry/statuses/1: this is no status
    7:12 /rateLimit: this is no rate
    8:14 /concurrency: this must be a whole number from 1 to 1000
    9:19 /egress/allow/0: `10.0.0.0/99` is no network
    9:33 /egress/deny: unknown key `deny`
    10:17 /idempotencyKey: this is no name of a header that may be set
    ");
}

#[test]
fn base_urls_are_plain() {
    for wrong in [
        "ftp://x.example",
        "/v2",
        "https://u:p@x.example",
        "https://x.example?a=1",
        "https://x.example/#a",
        "https://x y.example",
        "https:///x",
        "destination://crm",
    ] {
        let text = format!("destination: d\nbaseUrl: '{wrong}'");
        assert!(faults(&text).contains("/baseUrl"), "{wrong}");
    }
}

#[test]
fn what_comes_later_is_refused_by_name() {
    for (wrong, word) in [
        (
            "authentication: { oidc: {} }",
            "`oidc` is not supported by this version yet",
        ),
        ("authentication: { mtls: {} }", "`mtls` is not supported"),
        (
            "authentication: { bearer: { token: { vault: a } } }",
            "`vault` is not supported",
        ),
        (
            "authentication: { bearer: { token: { env: A, file: /b } } }",
            "exactly one member",
        ),
        (
            "authentication: { bearer: { token: { env: A } }, basic: {} }",
            "exactly one scheme",
        ),
        (
            "authentication: { apiKey: { name: Host, value: { env: A } } }",
            "cannot carry",
        ),
        (
            "authentication: { basic: { username: 'a:b', password: { env: A } } }",
            "colon",
        ),
        (
            "retry: { when: '${ true }' }",
            "`when` is not supported in a destination",
        ),
        (
            "retry: { backoff: { exponential: { factor: 0.5 } } }",
            "1 to 100",
        ),
        (
            "authentication: { oauth2: { authority: 'https://a.example', grant: password } }",
            "is not one of the words",
        ),
        (
            "authentication: { oauth2: { authority: x, grant: client_credentials } }",
            "not an absolute",
        ),
        (
            "authentication: { oauth2: { authority: 'https://a.example', grant: refresh_token, \
             client: { id: a } } }",
            "needs a `refreshToken`",
        ),
        ("timeout: PT0S", "longer than zero"),
        ("circuit: {}", "unknown key `circuit`"),
        ("circuitBreaker: { pause: PT0S }", "longer than zero"),
    ] {
        let text = format!("destination: d\nbaseUrl: https://x.example\n{wrong}");
        let said = faults(&text);
        assert!(said.contains(word), "{wrong}: {said}");
    }
}

proptest::proptest! {
    #[test]
    fn no_text_is_too_much(text: String) {
        let _ = parse(&text);
        let _ = parse(&format!("destination: d\nbaseUrl: {text}"));
    }
}
