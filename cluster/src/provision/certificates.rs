//! Certificates for one cluster: an authority made on the spot, and a key pair for every node.
//!
//! The authority's key never leaves the process that made it: nobody can be admitted later, and nothing is left
//! behind that could admit anybody.

use std::{
    fs,
    io::Write,
    net::IpAddr,
    os::unix::fs::OpenOptionsExt,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType, date_time_ymd,
};

use super::{ProvisionError, make_dir, write};
use crate::security::TlsFiles;

/// Whole years a certificate is valid from the start of the present one, and before it: clocks may be wrong,
/// and under test are made so.
const YEARS: i32 = 10;

/// An authority that lives as long as this value.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    /// A new authority with a key of its own (ECDSA on P-256, like all keys here).
    pub fn new(cluster: &str) -> Result<Self, ProvisionError> {
        let mut params = params(&format!("authority of {cluster}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().map_err(refused)?;
        Ok(Authority { issuer: CertifiedIssuer::self_signed(params, key).map_err(refused)? })
    }

    /// Writes `ca.pem`, `cert.pem` and `key.pem` (mode 0600) into `dir`, for a node that is called `name` and
    /// is reached at `addrs`. The certificate serves on both ends of a connection, as replication and quorum
    /// links need it; one without addresses is a client's: nobody can be fooled to connect to it.
    pub fn issue(&self, dir: &Path, name: &str, addrs: &[IpAddr]) -> Result<TlsFiles, ProvisionError> {
        let key = KeyPair::generate().map_err(refused)?;
        let mut params = params(name);
        let dns = name.try_into().map_err(|_| {
            ProvisionError::Settings(format!(
                "node {name:?} cannot be named in a certificate: use plain letters"
            ))
        })?;
        params.subject_alt_names = vec![SanType::DnsName(dns)];
        params.subject_alt_names.extend(addrs.iter().map(|addr| SanType::IpAddress(*addr)));
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if !addrs.is_empty() {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        let cert = params.signed_by(&key, &self.issuer).map_err(refused)?;
        make_dir(dir)?;
        let files = TlsFiles { ca: dir.join("ca.pem"), cert: dir.join("cert.pem"), key: dir.join("key.pem") };
        write(&files.ca, &self.issuer.pem())?;
        write(&files.cert, &cert.pem())?;
        write_secret(&files.key, &key.serialize_pem())?;
        Ok(files)
    }
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    let year = present_year();
    params.not_before = date_time_ymd(year - YEARS, 1, 1);
    params.not_after = date_time_ymd(year + YEARS, 1, 1);
    params
}

/// The year of the Gregorian calendar, to within a day or two around new year.
fn present_year() -> i32 {
    const SECONDS: u64 = 31_556_952; // 365.2425 days
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    1970 + (now / SECONDS) as i32
}

/// Writes a file that only its owner can read, from its first byte on.
pub(super) fn write_secret(path: &Path, text: &str) -> Result<(), ProvisionError> {
    let failed = |source| ProvisionError::Write { path: path.to_owned(), source };
    // A file that is there may have wider permissions, which opening it would keep.
    match fs::remove_file(path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => return Err(failed(source)),
        _ => {}
    }
    let mut file = fs::File::options().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)
}

fn refused(e: rcgen::Error) -> ProvisionError {
    ProvisionError::Settings(format!("cannot make a certificate: {e}"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn keys_are_for_their_owner_only_and_are_new_each_time() {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::new("test").unwrap();
        fs::write(dir.path().join("key.pem"), "wide open").unwrap();
        let files = authority.issue(dir.path(), "r0a", &[[127, 0, 0, 1].into()]).unwrap();
        let first = fs::read_to_string(&files.key).unwrap();
        assert_eq!(fs::metadata(&files.key).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(first.starts_with("-----BEGIN PRIVATE KEY-----"), "PKCS#8, as Java wants it");
        authority.issue(dir.path(), "r0a", &[]).unwrap();
        assert_ne!(fs::read_to_string(&files.key).unwrap(), first);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3, "the authority's key is not among them");
    }

    #[test]
    fn a_name_that_no_certificate_can_hold_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let e = Authority::new("test").unwrap().issue(dir.path(), "räd", &[]).unwrap_err();
        assert!(e.to_string().contains("use plain letters"), "{e}");
    }

    #[test]
    fn the_year_is_about_right() {
        assert!((2025..2200).contains(&present_year()));
    }
}
