//! Secrets: where values come from, that they are hidden in every spelling, and that sealed ones
//! open in their own place only.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hookwright::secret::{
    Config, Error, FILE_BYTES_MAX, Keyring, Redactor, Reference, SealContext, Secrets,
};
use proptest::prelude::*;
use secrecy::{ExposeSecret, SecretString};

/// A directory of the test's own, removed with it.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("hookwright-{}", uuid::Uuid::now_v7()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, text: impl AsRef<[u8]>) -> Reference {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        Reference::File(path.display().to_string())
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn sealed(pairs: &[(&str, &str)]) -> HashMap<String, SecretString> {
    pairs
        .iter()
        .map(|(name, value)| (name.to_string(), SecretString::from(*value)))
        .collect()
}

fn text(value: Option<SecretString>) -> Option<String> {
    value.map(|value| value.expose_secret().to_owned())
}

fn why(secrets: &Secrets, reference: &Reference) -> String {
    secrets.try_resolve(reference).unwrap_err().to_string()
}

#[test]
fn references_are_read_and_shown() {
    for (kind, value, shown) in [
        ("env", "SHOP_SECRET", "env SHOP_SECRET"),
        ("file", "/run/secrets/shop", "file /run/secrets/shop"),
        ("secret", "crm", "secret crm"),
        ("secret", "crm.token", "secret crm.token"),
    ] {
        assert_eq!(Reference::parse(kind, value).unwrap().to_string(), shown);
    }
    for (kind, value) in [
        ("env", ""),
        ("env", "A=B"),
        ("file", "a\0b"),
        ("secret", ".token"),
        ("secret", "crm."),
        ("secret", "crm.a.b"),
        ("vault", "whsec_MfKQ9r8GKYqrTwjU"),
        ("secret", "whsec_MfKQ9r8GKYqrTwjU/PD8ILPZIo2LaLaSw"),
    ] {
        let error = Reference::parse(kind, value).unwrap_err().to_string();
        assert!(!error.contains("whsec"), "repeats the value: {error}");
    }
}

#[test]
fn sealed_secrets_and_their_members_resolve() {
    let secrets = Secrets::new(sealed(&[
        ("plain", "plain-value"),
        (
            "crm",
            r#"{"token": "crm-token-1", "count": 5, "empty": ""}"#,
        ),
    ]));
    let resolve = |name: &str| secrets.resolve(&Reference::parse("secret", name).unwrap());
    assert_eq!(text(resolve("plain")).as_deref(), Some("plain-value"));
    assert_eq!(text(resolve("crm.token")).as_deref(), Some("crm-token-1"));
    assert!(resolve("crm.count").is_none());
    assert!(resolve("crm.empty").is_none());
    assert!(resolve("plain.token").is_none());
    assert!(resolve("absent").is_none());
    assert_eq!(text(secrets.named("plain")).as_deref(), Some("plain-value"));
    assert!(secrets.named("absent").is_none());

    secrets.replace(sealed(&[("plain", "another-value")]));
    assert_eq!(text(resolve("plain")).as_deref(), Some("another-value"));
    assert_eq!(
        secrets
            .redactor()
            .redact("plain-value another-value crm-token-1"),
        "*** *** ***"
    );
}

#[test]
fn variables_resolve_unless_refused() {
    let config = Config {
        env_refused: vec!["PATH".into(), "CARGO*".into()],
        ..Config::default()
    };
    let secrets = Secrets::configured(HashMap::new(), config);
    let variable = |name: &str| Reference::Env(name.to_owned());
    assert!(why(&secrets, &variable("PATH")).contains("refused by secret.env_refused"));
    assert!(why(&secrets, &variable("CARGO_MANIFEST_DIR")).contains("refused"));
    assert!(why(&secrets, &variable("HOOKWRIGHT_NOT_SET")).contains("HOOKWRIGHT_NOT_SET"));

    let path = text(Secrets::new(HashMap::new()).resolve(&variable("PATH")));
    assert_eq!(path, std::env::var("PATH").ok());
}

#[test]
fn files_resolve_and_are_read_again_when_they_change() {
    let directory = Directory::new();
    let secrets = Secrets::new(HashMap::new());
    let reference = directory.file("token", "first-value\r\n");
    assert_eq!(
        text(secrets.resolve(&reference)).as_deref(),
        Some("first-value")
    );
    directory.file("token", "second-value-\n\n");
    assert_eq!(
        text(secrets.resolve(&reference)).as_deref(),
        Some("second-value-\n")
    );
    assert_eq!(secrets.redactor().redact("first-value"), "***");

    let long = vec![b'x'; usize::try_from(FILE_BYTES_MAX).unwrap() + 1];
    for (name, content, reason) in [
        ("long", long.as_slice(), "at most 65536 bytes"),
        ("empty", b"\n", "is empty"),
        ("binary", b"\xff\xfe\xfd", "not UTF-8"),
    ] {
        let message = why(&secrets, &directory.file(name, content));
        assert!(message.contains(reason), "{message}");
    }
    let directory_itself = Reference::File(directory.0.display().to_string());
    assert!(why(&secrets, &directory_itself).contains("is not a file"));
    assert!(why(&secrets, &Reference::File("/dev/zero".into())).contains("is not a file"));
    assert!(why(&secrets, &Reference::File("/no/such".into())).contains("cannot be read"));
}

#[test]
fn files_elsewhere_are_refused_also_through_links() {
    let (inside, outside) = (Directory::new(), Directory::new());
    let config = Config {
        files_under: vec![inside.0.clone()],
        ..Config::default()
    };
    let secrets = Secrets::configured(HashMap::new(), config);
    let good = inside.file("good", "good-value");
    let bad = outside.file("bad", "bad-value");
    assert!(secrets.resolve(&good).is_some());
    assert!(why(&secrets, &bad).contains("secret.files_under"));

    let key = inside.file("kek", "key-encrypting-key");
    let key_files = vec![inside.0.join("kek")];
    let config = Config {
        key_files,
        files_under: vec![inside.0.clone()],
        ..Config::default()
    };
    assert!(
        Secrets::configured(HashMap::new(), config)
            .resolve(&key)
            .is_none()
    );

    let link = inside.0.join("link");
    std::os::unix::fs::symlink(outside.0.join("bad"), &link).unwrap();
    assert!(
        secrets
            .resolve(&Reference::File(link.display().to_string()))
            .is_none()
    );
    let upwards = inside
        .0
        .join("..")
        .join(outside.0.file_name().unwrap())
        .join("bad");
    assert!(
        secrets
            .resolve(&Reference::File(upwards.display().to_string()))
            .is_none()
    );
}

#[test]
fn values_are_hidden_in_every_spelling() {
    let value = "p@ss wörd/+\"1\n2";
    let redactor = Redactor::new([value, "short"]);
    let percent: String = value.bytes().map(|byte| format!("%{byte:02X}")).collect();
    assert_eq!(redactor.redact("a short line"), "a short line");
    assert_eq!(redactor.redact(&format!("x{value}y")), "x***y");
    for spelling in [
        hex::encode(value),
        hex::encode_upper(value),
        percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC)
            .to_string(),
        form_urlencoded::byte_serialize(value.as_bytes()).collect(),
        serde_json::Value::from(value).to_string(),
        STANDARD.encode(format!("user:{value}")),
        STANDARD.encode(format!("user1:{value}!")),
        STANDARD.encode(format!("user12:{value}!!")),
        URL_SAFE_NO_PAD.encode(value),
    ] {
        let redacted = redactor.redact(&spelling);
        assert!(redacted.contains("***"), "{spelling} stays");
        assert!(redacted.len() < spelling.len(), "{spelling} stays in part");
    }
    // Percent-encoding of every byte is nobody's habit; it is listed here as known to pass.
    assert_eq!(redactor.redact(&percent), percent);
}

#[test]
fn json_stays_json_when_secrets_are_hidden_in_it() {
    let redactor = Redactor::new(["12345678", "say \"hi\" \\o/"]);
    let hidden = |text: &str| String::from_utf8(redactor.redact_json(text.into())).unwrap();
    assert_eq!(
        hidden(r#"{"id":-912345678.5e3,"n":[12345678,7],"12345678":"a12345678z"}"#),
        r#"{"id":"-9***.5e3","n":["***",7],"***":"a***z"}"#
    );
    // Whatever the escapes: a value is what it means, not how it is spelled.
    assert_eq!(
        hidden(r#"["\u0031\u003245678","12345678","say \"hi\" \\o/"]"#),
        r#"["\u0031\u003245678","***","***"]"#
    );
    assert_eq!(
        hidden(r#"["\u00312345678","12345678"]"#),
        r#"["***","***"]"#
    );
    assert_eq!(hidden(r#"{"a":1.10,"b":"x"}"#), r#"{"a":1.10,"b":"x"}"#);
    assert_eq!(Redactor::default().redact_json(b"abc".to_vec()), b"abc");
}

proptest::proptest! {
    /// Journals hold whatever an API answered, and secrets may be any digits.
    #[test]
    fn no_secret_makes_json_unreadable(
        digits in "[0-9]{8,10}",
        texts in proptest::collection::vec("\\PC{0,12}", 0..4),
        number: u64,
    ) {
        let redactor = Redactor::new([digits.as_str()]);
        let json = serde_json::json!({
            "number": number,
            "digits": digits.parse::<u64>().unwrap(),
            "texts": texts,
            "near": format!("{digits}\\\"{digits}"),
        });
        let hidden = redactor.redact_json(json.to_string().into_bytes());
        let read: serde_json::Value = serde_json::from_slice(&hidden).unwrap();
        proptest::prop_assert!(!read.to_string().contains(&digits));
    }
}

#[test]
fn nothing_shows_a_value() {
    let secrets = Secrets::new(sealed(&[("crm", "crm-token-1")]));
    let shown = format!(
        "{secrets:?} {:?} {:?}",
        secrets.redactor(),
        secrets.named("crm")
    );
    assert!(!shown.contains("crm-token-1"), "{shown}");
}

proptest! {
    #[test]
    fn a_redacted_text_never_holds_the_value(
        value in "[a-zA-Z0-9+/=_-]{8,40}", before in ".{0,20}", after in ".{0,20}"
    ) {
        prop_assume!(!value.contains('*'));
        let redacted = Redactor::new([value.as_str()]);
        let text = format!("{before}{value}{after}");
        prop_assert!(!redacted.redact(&text).contains(&value));
        let encoded = STANDARD.encode(&text);
        let core = STANDARD.encode(&value);
        let core = &core[..value.len() * 8 / 6];
        prop_assert!(!redacted.redact(&encoded).contains(core));
    }
}

const CONTEXT: SealContext<'_> = SealContext {
    environment: "production",
    name: "crm",
    version: 3,
};

#[test]
fn what_is_sealed_opens_in_its_own_place_only() {
    let directory = Directory::new();
    let keyring = Keyring::load_or_create(&directory.0).unwrap();
    let row = keyring.seal(&CONTEXT, b"crm-token-1").unwrap();
    assert_eq!(
        keyring.open(&CONTEXT, &row).unwrap().expose_secret(),
        "crm-token-1"
    );
    assert_ne!(
        row,
        keyring.seal(&CONTEXT, b"crm-token-1").unwrap(),
        "nonces repeat"
    );

    let elsewhere = [
        SealContext {
            environment: "staging",
            ..CONTEXT
        },
        SealContext {
            name: "crm2",
            ..CONTEXT
        },
        SealContext {
            version: 4,
            ..CONTEXT
        },
        SealContext {
            environment: "productionc",
            name: "rm",
            ..CONTEXT
        },
    ];
    for context in elsewhere {
        let error = keyring.open(&context, &row).unwrap_err();
        assert!(
            matches!(&error, Error::Unopened(name) if name == context.name),
            "{error}"
        );
    }
    let other = keyring.seal(&elsewhere[1], b"crm-token-2").unwrap();
    let mut swapped = row.clone();
    swapped.sealed = other.sealed;
    assert!(keyring.open(&CONTEXT, &swapped).is_err());
    for index in 0..row.sealed.len() {
        let mut altered = row.clone();
        altered.sealed[index] ^= 1;
        assert!(keyring.open(&CONTEXT, &altered).is_err(), "byte {index}");
        altered.sealed.truncate(index);
        assert!(keyring.open(&CONTEXT, &altered).is_err(), "cut at {index}");
    }
}

#[test]
fn the_key_is_made_once_and_for_its_owner_only() {
    let directory = Directory::new();
    let rings: Vec<_> = std::thread::scope(|scope| {
        let start = || scope.spawn(|| Keyring::load_or_create(&directory.0).unwrap());
        let threads: Vec<_> = (0..8).map(|_| start()).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    let id = rings[0].ids().next().unwrap().to_owned();
    assert_eq!(id.len(), 8);
    assert!(rings.iter().all(|ring| ring.ids().eq([id.as_str()])));
    let keys = directory.0.join("keys");
    assert_eq!(
        fs::read_dir(&keys).unwrap().count(),
        1,
        "drafts stay behind"
    );
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(keys.clone()), mode(keys.join("kek"))), (0o700, 0o600));
}

#[test]
fn a_newer_key_seals_and_the_older_still_opens() {
    let directory = Directory::new();
    let file = |name: &str, byte: u8| {
        let path = directory.0.join(name);
        fs::write(
            &path,
            format!("# {name}\n{}\n", STANDARD.encode([byte; 32])),
        )
        .unwrap();
        path
    };
    let (old, new) = (file("old", 1), file("new", 2));
    let before = Keyring::load(std::slice::from_ref(&old)).unwrap();
    let row = before.seal(&CONTEXT, b"value-of-old").unwrap();
    let both = Keyring::load(&[old, new.clone()]).unwrap();
    assert_eq!(
        both.open(&CONTEXT, &row).unwrap().expose_secret(),
        "value-of-old"
    );
    let newer = both.seal(&CONTEXT, b"value-of-new").unwrap();
    assert_eq!(Some(newer.kek_id.as_str()), both.ids().last());

    let after = Keyring::load(&[new]).unwrap();
    let error = after.open(&CONTEXT, &row).unwrap_err().to_string();
    assert!(
        error.contains("crm") && error.contains(&row.kek_id),
        "{error}"
    );

    for text in ["", "# only remarks\n", "c2hvcnQ=\n", "not base64!\n"] {
        let path = directory.0.join("bad");
        fs::write(&path, text).unwrap();
        let error = Keyring::load(&[path]).unwrap_err().to_string();
        assert!(error.contains("openssl rand -base64 32"), "{error}");
    }
    assert!(Keyring::load(&[]).is_err());
}
