//! What an alert of the peer speaks of: the handshake, or what came after it.

use rustls::{AlertDescription, Error};

/// True for an alert that speaks of the handshake or of a certificate: whoever shakes hands again hears it again. With TLS 1.3
/// the client's part of the handshake is answered only after it, in place of an answer (RFC 8446, section 4.4.2.4).
///
/// The others of RFC 8446, section 6.2, speak of records and of what became of the peer: another connection may do better.
pub(super) const fn is_about_handshake(alert: AlertDescription) -> bool {
    is_about_client(alert)
        || matches!(
            alert,
            // Parameters that are not agreed to.
            AlertDescription::HandshakeFailure
                | AlertDescription::ProtocolVersion
                | AlertDescription::InsufficientSecurity
                | AlertDescription::ExportRestriction
                | AlertDescription::InappropriateFallback
                | AlertDescription::UnrecognisedName
                | AlertDescription::UnknownPSKIdentity
                | AlertDescription::NoApplicationProtocol
                | AlertDescription::EncryptedClientHelloRequired
                // Messages of a handshake that are wrong: nothing else in TLS has a form, or a signature. `decrypt_error` is
                // not about records, which `bad_record_mac` is.
                | AlertDescription::IllegalParameter
                | AlertDescription::DecodeError
                | AlertDescription::DecryptError
                | AlertDescription::MissingExtension
                | AlertDescription::UnsupportedExtension
        )
}

/// What is said of certificates, and a client hears it of its own.
const fn is_about_client(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::NoCertificate
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
            | AlertDescription::CertificateUnobtainable
            | AlertDescription::BadCertificateStatusResponse
            | AlertDescription::BadCertificateHashValue
            | AlertDescription::CertificateRequired
    )
}

/// The same in words.
pub(super) fn text(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::CertificateRequired => "the peer wants a client certificate".to_owned(),
        AlertDescription::ProtocolVersion => {
            format!(
                "no version or cipher in common: {}",
                Error::AlertReceived(alert)
            )
        }
        alert if is_about_client(alert) => {
            format!("the peer does not take our client certificate, or wants one: {alert:?}")
        }
        AlertDescription::DecryptError => {
            format!("the peer cannot verify what we signed, or our client certificate: {alert:?}")
        }
        alert => Error::AlertReceived(alert).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All of RFC 8446, section 6, in its order, and those that older versions had.
    #[test]
    fn alerts_speak_of_the_handshake_or_of_what_came_after_it() {
        let rows: [(u8, bool, &str); 36] = [
            (0, false, "close_notify"),
            (10, false, "unexpected_message"),
            (20, false, "bad_record_mac"),
            (21, false, "decryption_failed"),
            (22, false, "record_overflow"),
            (30, false, "decompression_failure"),
            (40, true, "handshake_failure"),
            (41, true, "no_certificate"),
            (42, true, "bad_certificate"),
            (43, true, "unsupported_certificate"),
            (44, true, "certificate_revoked"),
            (45, true, "certificate_expired"),
            (46, true, "certificate_unknown"),
            (47, true, "illegal_parameter"),
            (48, true, "unknown_ca"),
            (49, true, "access_denied"),
            (50, true, "decode_error"),
            (51, true, "decrypt_error"),
            (60, true, "export_restriction"),
            (70, true, "protocol_version"),
            (71, true, "insufficient_security"),
            (80, false, "internal_error"),
            (86, true, "inappropriate_fallback"),
            (90, false, "user_canceled"),
            (100, false, "no_renegotiation"),
            (109, true, "missing_extension"),
            (110, true, "unsupported_extension"),
            (111, true, "certificate_unobtainable"),
            (112, true, "unrecognized_name"),
            (113, true, "bad_certificate_status_response"),
            (114, true, "bad_certificate_hash_value"),
            (115, true, "unknown_psk_identity"),
            (116, true, "certificate_required"),
            (120, true, "no_application_protocol"),
            (121, true, "ech_required"),
            (255, false, "none that is known"),
        ];
        for (code, of_handshake, name) in rows {
            let alert = AlertDescription::from(code);
            assert_eq!(is_about_handshake(alert), of_handshake, "{name}: {alert:?}");
        }
        for code in (0..=255).filter(|code| rows.iter().all(|row| row.0 != *code)) {
            let alert = AlertDescription::from(code);
            assert!(!is_about_handshake(alert), "{alert:?} has no row");
        }
    }

    #[test]
    fn words_for_alerts() {
        for (alert, said) in [
            (
                AlertDescription::CertificateRequired,
                "wants a client certificate",
            ),
            (
                AlertDescription::UnknownCA,
                "does not take our client certificate",
            ),
            (
                AlertDescription::ProtocolVersion,
                "no version or cipher in common",
            ),
            (AlertDescription::DecryptError, "DecryptError"),
        ] {
            assert!(text(alert).contains(said), "{alert:?}");
        }
    }
}
