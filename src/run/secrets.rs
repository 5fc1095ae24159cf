//! `$secrets`: values of secrets as data for expressions.

use std::sync::Arc;

use secrecy::ExposeSecret;

use super::Resolve;
use crate::expression::Value;
use crate::secret::Secrets;

/// `$secrets.<name>` as data: an object where the value is one, else a string.
#[must_use]
pub fn named_secrets(secrets: &Arc<Secrets>) -> Arc<Resolve> {
    let secrets = Arc::clone(secrets);
    Arc::new(move |name| {
        let secret = secrets.named(name)?;
        let text = secret.expose_secret();
        let parsed = Value::from_json(text.as_bytes())
            .ok()
            .filter(Value::is_object);
        Some(parsed.unwrap_or_else(|| Value::string(text)))
    })
}
