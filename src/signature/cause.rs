//! Why a delivery is not genuine: one word for metrics, one sentence for people.
//!
//! Made by the leaves of a scheme; read by the door, its books and the API.

use std::fmt;

/// Why a delivery was rejected; the label of the metric and of the log line.
///
/// In the order in which the checks are made, so a later cause means the delivery came further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// We have no usable secret: none is set, or it is blank or not in the form it must have.
    SecretMissing,
    /// There is no signature or credential where this sender puts it.
    SignatureMissing,
    /// There is something, but no signature of this sender's form.
    SignatureMalformed,
    /// There is no timestamp, or it cannot be read.
    TimestampMissing,
    /// A part that the sender signs is absent.
    ContentMissing,
    /// The certificate is not one of this sender's, or not valid now.
    KeyRefused,
    /// The sender's published keys have none of this name.
    KeyUnknown,
    /// The sender's published keys could not be fetched. Not the delivery's fault.
    KeyUnavailable,
    /// A credential or a claim is not the one expected.
    CheckFailed,
    /// No live secret makes the signature: another secret, or content that was changed.
    SignatureMismatch,
    /// The signature is right but older or newer than the tolerance.
    TimestampOutsideTolerance,
}

impl Cause {
    /// All causes.
    pub const ALL: &'static [Cause] = &[
        Self::SecretMissing,
        Self::SignatureMissing,
        Self::SignatureMalformed,
        Self::TimestampMissing,
        Self::ContentMissing,
        Self::KeyRefused,
        Self::KeyUnknown,
        Self::KeyUnavailable,
        Self::CheckFailed,
        Self::SignatureMismatch,
        Self::TimestampOutsideTolerance,
    ];

    /// The cause as a metric label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::SecretMissing => "secret_missing",
            Self::SignatureMissing => "signature_missing",
            Self::SignatureMalformed => "signature_malformed",
            Self::TimestampMissing => "timestamp_missing",
            Self::ContentMissing => "content_missing",
            Self::KeyRefused => "key_refused",
            Self::KeyUnknown => "key_unknown",
            Self::KeyUnavailable => "key_unavailable",
            Self::CheckFailed => "check_failed",
            Self::SignatureMismatch => "signature_mismatch",
            Self::TimestampOutsideTolerance => "timestamp_outside_tolerance",
        }
    }
}

/// A sentence for the operator: what failed and where to look.
impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SecretMissing => {
                "the source has no usable secret: set it, in the provider's form"
            }
            Self::SignatureMissing => "the delivery carries no signature where this sender puts it",
            Self::SignatureMalformed => "what the delivery carries is no signature of this sender",
            Self::TimestampMissing => "the delivery carries no readable timestamp",
            Self::ContentMissing => "the delivery lacks a part that this sender signs",
            Self::KeyRefused => {
                "the certificate named in the delivery is not this sender's, or \
                                 it is not valid now"
            }
            Self::KeyUnknown => {
                "the delivery is signed with a key that the sender does not publish"
            }
            Self::KeyUnavailable => "the sender's published keys could not be fetched",
            Self::CheckFailed => "a credential or claim in the delivery is not the one expected",
            Self::SignatureMismatch => {
                "no secret of the source makes this signature: wrong secret \
                                        or changed content"
            }
            Self::TimestampOutsideTolerance => {
                "the delivery was signed too long ago, or a clock \
                                                is wrong"
            }
        })
    }
}
