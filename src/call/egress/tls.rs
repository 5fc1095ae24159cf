//! TLS of a destination's own: another certificate authority, and a certificate to show.

use std::sync::Arc;

use aws_lc_rs::digest;
use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls_platform_verifier::BuilderVerifierExt;

/// Certificates and keys, as PEM.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pem<'a> {
    /// The authorities to trust in place of the system's.
    pub ca: Option<&'a [u8]>,
    /// The certificate to show with those between it and an authority, and its key.
    pub identity: Option<(&'a [u8], &'a [u8])>,
}

/// What tells one PEM from another.
pub(super) type Digest = [u8; 32];

impl Pem<'_> {
    pub(super) fn digest(&self) -> Digest {
        let mut context = digest::Context::new(&digest::SHA256);
        let (chain, key) = self.identity.unzip();
        for part in [self.ca, chain, key] {
            let part = part.unwrap_or_default();
            context.update(&part.len().to_be_bytes());
            context.update(part);
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(context.finish().as_ref());
        digest
    }
}

/// Why PEM cannot be used; none of its text.
pub(super) type Unusable = &'static str;

/// A configuration with these.
pub(super) fn config(pem: Pem<'_>) -> Result<ClientConfig, Unusable> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|_| "TLS cannot be set up")?;
    let builder = match pem.ca {
        Some(ca) => {
            let mut roots = rustls::RootCertStore::empty();
            for certificate in certificates(ca)? {
                let added = roots.add(certificate);
                added.map_err(|_| "`tls.ca` holds a certificate that cannot be used")?;
            }
            builder.with_root_certificates(roots)
        }
        None => builder
            .with_platform_verifier()
            .map_err(|_| "the system's certificates cannot be read")?,
    };
    let mut config = match pem.identity {
        Some((chain, key)) => {
            let key = PrivateKeyDer::from_pem_slice(key)
                .map_err(|_| "`tls.key` holds no private key in PEM")?;
            builder
                .with_client_auth_cert(certificates(chain)?, key)
                .map_err(|_| "`tls.certificate` and `tls.key` do not fit together")?
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Unusable> {
    const NONE: Unusable = "`tls` names something that holds no certificate in PEM";
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    all.ok().filter(|all| !all.is_empty()).ok_or(NONE)
}
