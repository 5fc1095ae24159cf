//! Signs a request that is otherwise complete: with AWS Signature Version 4, as Standard Webhooks,
//! or with an HMAC of its own kind.
//!
//! Each attempt is signed anew, at its own time. A signature is sensitive as credentials are: no
//! redirect carries it to another origin.

use aws_credential_types::Credentials;
use aws_lc_rs::hmac;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderName, HeaderValue};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};

use super::Prepared;
use crate::call::document::{Hash, Hmac, Part, Signing, Username};
use crate::call::failure::Failure;
use crate::secret::{Reference, Secrets};

/// What a request is signed with besides itself.
pub(super) struct Signer<'a> {
    /// The name of the destination.
    pub(super) name: &'a str,
    pub(super) secrets: &'a Secrets,
    pub(super) now: Timestamp,
    /// The idempotency key: the same for all attempts.
    pub(super) id: String,
}

impl Signer<'_> {
    /// Adds what `signing` says.
    pub(super) fn sign(&self, signing: &Signing, prepared: &mut Prepared) -> Result<(), Failure> {
        match signing {
            Signing::Aws { .. } if prepared.headers.contains_key(AUTHORIZATION) => Ok(()),
            Signing::Aws { .. } => self.aws(signing, prepared),
            Signing::StandardWebhooks { secret } => self.standard_webhooks(secret, prepared),
            Signing::Hmac(hmac) => self.hmac(hmac, prepared),
        }
    }

    fn aws(&self, signing: &Signing, prepared: &mut Prepared) -> Result<(), Failure> {
        let Signing::Aws {
            region,
            service,
            key_id,
            key,
            token,
        } = signing
        else {
            return Ok(());
        };
        let key_id = match key_id {
            Username::Plain(id) => SecretString::from(id.as_str()),
            Username::Secret(reference) => self.resolve(reference)?,
        };
        let token = token
            .as_ref()
            .map(|token| self.resolve(token))
            .transpose()?;
        let credentials = Credentials::new(
            key_id.expose_secret(),
            self.resolve(key)?.expose_secret(),
            token.map(|token| token.expose_secret().to_owned()),
            None,
            "hookwright",
        );
        let identity = credentials.into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(region)
            .name(service)
            .time(self.now.into())
            .settings(settings(service))
            .build()
            .map_err(|_| self.unsigned())?
            .into();
        let kind = prepared.headers.get(CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok());
        let body = SignableBody::Bytes(prepared.body.as_deref().unwrap_or_default());
        let headers = kind.into_iter().map(|kind| ("content-type", kind));
        let (method, url) = (prepared.method.as_str(), prepared.url.as_str());
        let request = SignableRequest::new(method, url, headers, body);
        let request = request.map_err(|_| self.unsigned())?;
        let signed = sign(request, &params).map_err(|_| self.unsigned())?;
        let (instructions, _) = signed.into_parts();
        let added: Vec<_> = instructions
            .headers()
            .map(|(name, value)| (HeaderName::try_from(name), value.to_owned()))
            .collect();
        for (name, value) in added {
            let name = name.map_err(|_| self.unsigned())?;
            self.insert(prepared, name, &value)?;
        }
        Ok(())
    }

    fn standard_webhooks(
        &self,
        secret: &Reference,
        prepared: &mut Prepared,
    ) -> Result<(), Failure> {
        let secret = self.resolve(secret)?;
        let text = secret.expose_secret();
        let key = STANDARD.decode(text.strip_prefix("whsec_").unwrap_or(text));
        let key = key.map_err(|_| self.unsigned())?;
        let seconds = self.now.as_second().to_string();
        let content = [self.id.as_bytes(), seconds.as_bytes(), body(prepared)].join(&b'.');
        let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), &content);
        let signature = format!("v1,{}", STANDARD.encode(mac));
        for (name, value) in [
            ("webhook-id", &self.id),
            ("webhook-timestamp", &seconds),
            ("webhook-signature", &signature),
        ] {
            self.insert(prepared, HeaderName::from_static(name), value)?;
        }
        Ok(())
    }

    fn hmac(&self, how: &Hmac, prepared: &mut Prepared) -> Result<(), Failure> {
        let secret = self.resolve(&how.secret)?;
        let seconds = self.now.as_second().to_string();
        let mut content = Vec::new();
        for part in &how.content {
            content.extend_from_slice(match part {
                Part::Text(text) => text.as_bytes(),
                Part::Method => prepared.method.as_str().as_bytes(),
                Part::Url => prepared.url.as_str().as_bytes(),
                Part::Path => prepared.url.path().as_bytes(),
                Part::Query => prepared.url.query().unwrap_or_default().as_bytes(),
                Part::Body => body(prepared),
                Part::Timestamp => seconds.as_bytes(),
                Part::Id => self.id.as_bytes(),
            });
        }
        let algorithm = match how.hash {
            Hash::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Hash::Sha256 => hmac::HMAC_SHA256,
            Hash::Sha384 => hmac::HMAC_SHA384,
            Hash::Sha512 => hmac::HMAC_SHA512,
        };
        let key = hmac::Key::new(algorithm, secret.expose_secret().as_bytes());
        let mac = hmac::sign(&key, &content);
        let text = match how.base64 {
            true => STANDARD.encode(mac),
            false => hex::encode(mac),
        };
        let value = format!("{}{text}", how.prefix);
        self.insert(prepared, how.header.clone(), &value)?;
        match &how.timestamp {
            Some(name) => self.insert(prepared, name.clone(), &seconds),
            None => Ok(()),
        }
    }

    fn resolve(&self, reference: &Reference) -> Result<SecretString, Failure> {
        self.secrets.resolve(reference).ok_or_else(|| {
            Failure::unauthenticated(format!(
                "the destination `{}` needs {reference}, which has no value; set it and replay",
                self.name
            ))
        })
    }

    /// Adds a header, hidden from whoever looks at requests.
    fn insert(
        &self,
        prepared: &mut Prepared,
        name: HeaderName,
        value: &str,
    ) -> Result<(), Failure> {
        let mut value = HeaderValue::from_str(value).map_err(|_| self.unsigned())?;
        value.set_sensitive(true);
        prepared.headers.insert(name, value);
        Ok(())
    }

    fn unsigned(&self) -> Failure {
        Failure::unauthenticated(format!(
            "the request cannot be signed with what the destination `{}` says; is its secret in \
             the form that is expected?",
            self.name
        ))
    }
}

fn body(prepared: &Prepared) -> &[u8] {
    prepared.body.as_deref().unwrap_or_default()
}

/// S3 is signed differently from all others.
fn settings(service: &str) -> SigningSettings {
    let mut settings = SigningSettings::default();
    if service == "s3" {
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    }
    settings
}
