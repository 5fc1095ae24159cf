//! Certificates that a sender names by URL: which ones count, and the key inside.
//!
//! The URL is in the delivery, so only hosts and paths that the document allows are taken; the
//! certificate itself was fetched by the caller and comes in through `Keys`. Trust rests on that
//! host over TLS, on the name in the certificate and on its validity now.

use regex::Regex;
use x509_parser::prelude::{ASN1Time, parse_x509_certificate};

use super::template::{Scope, Template};
use super::view::View;
use super::{Cause, Keys};

/// `certificate:` of a leaf.
#[derive(Clone, Debug)]
pub(super) struct Certificate {
    pub url: Template,
    /// The whole host.
    pub host: Regex,
    /// A part of the path.
    pub path: Regex,
    pub name: Name,
}

/// The common name the certificate must have.
#[derive(Clone, Debug)]
pub(super) enum Name {
    Is(String),
    /// It ends so, with something before.
    EndsWith(String),
}

impl Certificate {
    /// The URL in the delivery, where it is one of this sender's.
    ///
    /// # Errors
    /// `ContentMissing` where there is none, `KeyRefused` where it is somewhere else.
    pub fn url(&self, view: &View<'_>, scope: &Scope<'_>) -> Result<String, Cause> {
        let text = self.url.text(view, scope).ok_or(Cause::ContentMissing)?;
        let url = url::Url::parse(&text).map_err(|_| Cause::KeyRefused)?;
        let plain = url.scheme() == "https"
            && url.port().is_none()
            && url.username().is_empty()
            && url.password().is_none();
        let host = url.host_str().is_some_and(|host| self.host.is_match(host));
        let allowed = plain && host && self.path.is_match(url.path());
        allowed.then(|| url.into()).ok_or(Cause::KeyRefused)
    }

    /// The public key of the certificate, as DER.
    ///
    /// # Errors
    /// As [`Certificate::url`]; `KeyUnavailable` where it was not fetched, `KeyRefused` where it
    /// is none, has another name or is not valid now.
    pub fn key(
        &self,
        view: &View<'_>,
        scope: &Scope<'_>,
        keys: &dyn Keys,
    ) -> Result<Vec<u8>, Cause> {
        let url = self.url(view, scope)?;
        let pem = keys.document(&url).ok_or(Cause::KeyUnavailable)?;
        let read = self.read(&pem, view.delivery.now);
        read.ok_or(Cause::KeyRefused)
    }

    fn read(&self, pem: &[u8], now: i64) -> Option<Vec<u8>> {
        let (_, pem) = x509_parser::pem::parse_x509_pem(pem).ok()?;
        let (_, certificate) = parse_x509_certificate(&pem.contents).ok()?;
        let now = ASN1Time::from_timestamp(now).ok()?;
        let mut names = certificate.subject().iter_common_name();
        let name = names.next()?.as_str().ok()?;
        let good = names.next().is_none()
            && certificate.validity().is_valid_at(now)
            && match &self.name {
                Name::Is(wanted) => name == wanted,
                Name::EndsWith(end) => name.len() > end.len() && name.ends_with(end.as_str()),
            };
        good.then(|| certificate.public_key().raw.to_vec())
    }
}
