//! Connections to Postgres with the TLS that the URL asks for.
//!
//! Owns the rustls configuration of each `sslmode` and the order in which servers and modes are tried. The URL says what
//! to do (`url`); pools and dedicated connections both come through [`Connector::connect`]. The cryptography is ring's,
//! named here rather than installed for the process.
//!
//! The modes mean what they mean to libpq. In particular `require`, like `prefer` and `allow`, **encrypts and trusts
//! anyone** unless `sslrootcert` is given: it keeps listeners out and does not keep out a server that stands between.
//! `verify-full` does. Two differences: names are taken from the subject alternative names of a certificate and never from
//! its common name, and a certificate that is itself in the file of `sslrootcert` is trusted past its expiry.

use std::error::Error as StdError;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_postgres::config::SslMode as Negotiation;
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::url::{ClientCertificate, DatabaseUrl, Host, Place, Roots, SslMode, TlsSettings, Verification};

/// The stream of an encrypted connection.
pub type TlsStream = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream;

/// The half of a connection that must be driven for the client to work; what
/// `AsyncPgConnection::try_from_client_and_connection` takes.
pub type Driver = tokio_postgres::Connection<Socket, TlsStream>;

/// Connects to one database. Certificates are read once, when it is made.
#[derive(Clone)]
pub struct Connector {
    url: DatabaseUrl,
    tls: MakeRustlsConnect,
}

/// How what is said gets to a server, or to what stands in front of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// Whether it crosses a network.
    pub leaves_machine: bool,
    /// Whether nobody on it can listen.
    pub is_encrypted: bool,
}

/// The TLS settings of a URL cannot be put to use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file of certificates or a key cannot be read.
    #[error("cannot read {what} from `{}` (`{key}` in the database URL): {problem}", path.display())]
    File {
        /// What the file should hold.
        what: &'static str,
        /// The key that names it.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The operating system trusts nobody.
    #[error(
        "found no trusted certificate authorities on this system, which `sslmode=verify-full` needs{problem}; install \
         them (`apt-get install ca-certificates`) or name your own with `sslrootcert` in the database URL"
    )]
    NoSystemRoots {
        /// What went wrong while looking, or nothing.
        problem: String,
    },
    /// rustls refuses the settings.
    #[error("cannot set up TLS for the database: {source}")]
    Setup {
        /// The cause.
        #[from]
        source: rustls::Error,
    },
}

/// No server of the URL could be connected to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The TLS settings of the URL cannot be put to use.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A host's name has no address.
    #[error("cannot resolve the database host `{host}`: {source}")]
    Unresolved {
        /// The name.
        host: String,
        /// The cause.
        source: io::Error,
    },
    /// A server, or the way to it, does not answer.
    #[error("the database at `{host}` did not answer within {} s (`connect_timeout` in the database URL)", limit.as_secs())]
    TimedOut {
        /// The server.
        host: String,
        /// The bound on one attempt.
        limit: Duration,
    },
    /// A server answered, or its machine did, and there is no connection.
    #[error("cannot connect to the database at `{host}`: {}{}", causes(source), advice(source))]
    Failed {
        /// The server.
        host: String,
        /// The cause, with its SQLSTATE if the server gave one.
        #[source]
        source: tokio_postgres::Error,
    },
    /// The file of passwords cannot be used.
    #[error("cannot use the password file `{}` (`passfile` in the database URL): {problem}", path.display())]
    Passfile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        problem: String,
    },
    /// None of several servers could be connected to.
    #[error("cannot connect to any database host: {}", causes.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    AllFailed {
        /// Why, server by server.
        causes: Vec<ConnectError>,
    },
}

impl Connector {
    /// Reads the certificates that the URL names.
    pub fn new(url: DatabaseUrl) -> Result<Connector, TlsError> {
        let tls = MakeRustlsConnect::new(client_config(&url)?);
        Ok(Connector { url, tls })
    }

    /// The URL.
    pub fn url(&self) -> &DatabaseUrl {
        &self.url
    }

    /// What `CancelToken::cancel_query` needs, so that a cancellation is as well encrypted as its query.
    pub fn tls(&self) -> MakeRustlsConnect {
        self.tls.clone()
    }

    /// Connects to the first server that takes us. The caller drives or spawns the second half.
    pub async fn connect(&self) -> Result<(Client, Driver), ConnectError> {
        let mut causes = Vec::new();
        for host in self.url.hosts() {
            match self.connect_to_host(host).await {
                Ok(connected) => return Ok(connected),
                Err(error) => causes.push(error),
            }
        }
        match causes.len() {
            1 => Err(causes.remove(0)),
            _ => Err(ConnectError::AllFailed { causes }),
        }
    }

    /// Tries every address of a name, each with the full `connect_timeout`: the first may lead nowhere.
    async fn connect_to_host(&self, host: &Host) -> Result<(Client, Driver), ConnectError> {
        let mut last = None;
        for target in self.resolve(host).await? {
            match self.connect_to_target(&target).await {
                Ok(connected) => return Ok(connected),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| ConnectError::Unresolved {
            host: host.to_string(),
            source: io::Error::new(io::ErrorKind::NotFound, "the name has no address"),
        }))
    }

    /// One host for each address of a name.
    async fn resolve(&self, host: &Host) -> Result<Vec<Host>, ConnectError> {
        let (Place::Tcp(name), None) = (&host.place, host.address) else {
            return Ok(vec![host.clone()]);
        };
        let unresolved = |source| ConnectError::Unresolved {
            host: name.clone(),
            source,
        };
        let looked_up = self
            .bounded(host, tokio::net::lookup_host((name.as_str(), host.port)))
            .await?;
        let addresses = looked_up.map_err(unresolved)?;
        Ok(addresses
            .map(|address| Host {
                address: Some(address.ip()),
                ..host.clone()
            })
            .collect())
    }

    /// The way to the first server that takes us. A connection is made to see, since the server has a say in most modes.
    pub async fn way(&self) -> Result<Way, ConnectError> {
        let mut last = None;
        for host in self.url.hosts() {
            for target in self.resolve(host).await? {
                match self.negotiate(&target, self.url.tls().decided_negotiations()).await {
                    Ok((negotiation, _)) => {
                        return Ok(Way {
                            leaves_machine: target.address.is_some_and(|address| !is_of_this_machine(address)),
                            is_encrypted: negotiation != Negotiation::Disable,
                        });
                    }
                    Err(error) => last = Some(error),
                }
            }
        }
        Err(last.unwrap_or_else(|| ConnectError::Unresolved {
            host: self.url.to_string(),
            source: io::Error::new(io::ErrorKind::NotFound, "no name has an address"),
        }))
    }

    async fn connect_to_target(&self, host: &Host) -> Result<(Client, Driver), ConnectError> {
        let (_, connected) = self.negotiate(host, self.url.tls().negotiations()).await?;
        Ok(connected)
    }

    /// Connects by the first of these negotiations that leads to a connection.
    async fn negotiate(
        &self,
        host: &Host,
        negotiations: &[Negotiation],
    ) -> Result<(Negotiation, (Client, Driver)), ConnectError> {
        let password = password_from_file(&self.url, host)?;
        let negotiations = match host.place {
            Place::Unix(_) => &[Negotiation::Disable],
            Place::Tcp(_) => negotiations,
        };
        let mut last = None;
        for &negotiation in negotiations {
            let mut config = self.url.config(host, negotiation);
            password.as_ref().map(|password| config.password(password));
            match self.bounded(host, config.connect(self.tls.clone())).await? {
                Ok(connected) => return Ok((negotiation, connected)),
                Err(source) => {
                    let is_final = !asks_for_other_negotiation(&source);
                    last = Some(ConnectError::Failed {
                        host: host.to_string(),
                        source,
                    });
                    if is_final {
                        break;
                    }
                }
            }
        }
        Err(last.expect("every mode has a negotiation to try"))
    }

    /// tokio-postgres bounds the TCP handshake alone; a server that accepts and stays silent is bounded here.
    async fn bounded<T>(&self, host: &Host, future: impl Future<Output = T>) -> Result<T, ConnectError> {
        match self.url.connect_timeout() {
            None => Ok(future.await),
            Some(limit) => tokio::time::timeout(limit, future)
                .await
                .map_err(|_| ConnectError::TimedOut {
                    host: host.to_string(),
                    limit,
                }),
        }
    }
}

/// Whether an address is one of this machine's: packets to it come from itself.
fn is_of_this_machine(address: IpAddr) -> bool {
    let any: IpAddr = match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    // A datagram socket that is connected sends nothing; the kernel only chooses the way.
    let way = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect((address, 9))?;
        socket.local_addr()
    });
    way.is_ok_and(|own| own.ip() == address)
}

/// Whether `prefer` goes on without TLS, or `allow` with it: the handshake failed, or the server has no rule for
/// connections of this kind.
fn asks_for_other_negotiation(error: &tokio_postgres::Error) -> bool {
    error.code() == Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION) || is_handshake_failure(error)
}

/// tokio-postgres tells kinds apart in its text only.
fn is_handshake_failure(error: &tokio_postgres::Error) -> bool {
    error.to_string().starts_with("error performing TLS handshake")
}

/// An error with all that lies under it, each said once.
fn causes(error: &tokio_postgres::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        source = cause.source();
    }
    text
}

/// What to do about the failures of a first connection.
fn advice(error: &tokio_postgres::Error) -> &'static str {
    let text = causes(error);
    let has = |words: &str| text.contains(words);
    if has("UnknownIssuer") {
        "; name the authority of the server's certificate with `sslrootcert=/path/to/ca.crt` in the database URL"
    } else if has("not valid for name") || has("NotValidForName") {
        "; use the name in the server's certificate (a subject alternative name, not the common name), or \
         `sslmode=verify-ca`"
    } else if has("UnsupportedCertVersion") {
        "; the server's certificate is of X.509 version 1; make one of version 3, with a subject alternative name"
    } else if has("server does not support TLS") {
        "; turn TLS on at the server, or use `sslmode=disable` on a network that you trust"
    } else if error.code() == Some(&SqlState::INVALID_CATALOG_NAME) {
        "; create it with `createdb`"
    } else if has("password missing") {
        "; put it in the database URL, or name a password file there with `passfile`"
    } else {
        ""
    }
}

/// The rustls configuration for a URL. Where every host is a Unix socket or TLS is off, nothing is read from disk.
fn client_config(url: &DatabaseUrl) -> Result<ClientConfig, TlsError> {
    let settings = url.tls();
    let is_used =
        settings.mode != SslMode::Disable && url.hosts().iter().any(|host| matches!(host.place, Place::Tcp(_)));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = if is_used {
        Verifier::new(settings, &provider)?
    } else {
        Verifier::trusting_anyone(&provider)
    };

    let versions = if settings.only_tls13 {
        &[&rustls::version::TLS13]
    } else {
        rustls::DEFAULT_VERSIONS
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match settings.client_certificate.as_ref().filter(|_| is_used) {
        Some(files) => {
            let (certificates, key) = read_client_certificate(files)?;
            builder.with_client_auth_cert(certificates, key)?
        }
        None => builder.with_no_client_auth(),
    };
    config.enable_sni = settings.sends_name;
    if settings.is_direct {
        // "The ALPN protocol name is postgresql", and a server asks for it if TLS comes first.
        config.alpn_protocols = vec![b"postgresql".to_vec()];
    }
    Ok(config)
}

fn read_client_certificate(
    files: &ClientCertificate,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
    let certificates = read_certificates(&files.certificate, "sslcert")?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| TlsError::File {
        what: "a private key",
        key: "sslkey",
        path: files.key.clone(),
        problem: format!("{error}; it must be PEM and not encrypted (`openssl pkey` decrypts it)"),
    })?;
    Ok((certificates, key))
}

fn read_certificates(path: &Path, key: &'static str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let failed = |problem: String| TlsError::File {
        what: "certificates",
        key,
        path: path.to_owned(),
        problem,
    };
    let certificates: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).and_then(|certificates| certificates.collect());
    let certificates = certificates.map_err(|error| failed(error.to_string()))?;
    if certificates.is_empty() {
        return Err(failed("it holds no PEM certificate".to_owned()));
    }
    Ok(certificates)
}

/// Checks as much of a server's certificate as the mode asks for. That the server holds the certificate's key is always
/// checked.
#[derive(Debug)]
struct Verifier {
    verification: Verification,
    roots: RootCertStore,
    /// The certificates of `sslrootcert` themselves: a server may present one of them, as self-signed ones do.
    trusted: Vec<CertificateDer<'static>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    fn new(settings: &TlsSettings, provider: &CryptoProvider) -> Result<Verifier, TlsError> {
        let mut verifier = Verifier::trusting_anyone(provider);
        verifier.verification = settings.verification();
        match (&settings.roots, verifier.verification) {
            (_, Verification::Nothing) => {}
            (Some(Roots::File(path)), _) => {
                verifier.trusted = read_certificates(path, "sslrootcert")?;
                verifier
                    .roots
                    .add_parsable_certificates(verifier.trusted.iter().cloned());
            }
            (Some(Roots::System) | None, _) => verifier.roots = system_roots()?,
        }
        Ok(verifier)
    }

    fn trusting_anyone(provider: &CryptoProvider) -> Verifier {
        Verifier {
            verification: Verification::Nothing,
            roots: RootCertStore::empty(),
            trusted: Vec::new(),
            algorithms: provider.signature_verification_algorithms,
        }
    }
}

fn system_roots() -> Result<RootCertStore, TlsError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let problem = found
            .errors
            .first()
            .map(|error| format!(" ({error})"))
            .unwrap_or_default();
        return Err(TlsError::NoSystemRoots { problem });
    }
    Ok(roots)
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.verification == Verification::Nothing {
            return Ok(ServerCertVerified::assertion());
        }
        let certificate = ParsedCertificate::try_from(end_entity)?;
        if !self.trusted.contains(end_entity) {
            let all = self.algorithms.all;
            verify_server_cert_signed_by_trust_anchor(&certificate, &self.roots, intermediates, now, all)?;
        }
        if self.verification == Verification::ChainAndName {
            verify_server_name(&certificate, server_name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Looks the password up as libpq does: lines of `host:port:database:user:password`, `*` for any, the first that fits.
/// Read at every connection, so that a rotated password is found.
fn password_from_file(url: &DatabaseUrl, host: &Host) -> Result<Option<String>, ConnectError> {
    let Some(path) = url.passfile() else { return Ok(None) };
    let unusable = |problem: String| ConnectError::Passfile {
        path: path.to_owned(),
        problem,
    };
    let metadata = path.metadata().map_err(|error| unusable(error.to_string()))?;
    if metadata.mode() & 0o077 != 0 {
        return Err(unusable("others may read it; `chmod 0600` it".to_owned()));
    }
    let content = std::fs::read_to_string(path).map_err(|error| unusable(error.to_string()))?;
    let name = match &host.place {
        Place::Tcp(name) => name.clone(),
        Place::Unix(directory) => directory.to_string_lossy().into_owned(),
    };
    let wanted = [
        name.as_str(),
        &host.port.to_string(),
        url.database(),
        url.user().unwrap_or("*"),
    ];
    Ok(find_password(&content, wanted))
}

fn find_password(content: &str, wanted: [&str; 4]) -> Option<String> {
    let lines = content.lines().filter(|line| !line.starts_with('#'));
    lines.map(split_passfile_line).find_map(|fields| {
        let (password, pattern) = fields.split_last()?;
        let fits = pattern
            .iter()
            .zip(wanted)
            .all(|(field, wanted)| field == "*" || field == wanted);
        (pattern.len() == wanted.len() && fits).then(|| password.clone())
    })
}

/// Splits at colons; a backslash takes the next character as it is.
fn split_passfile_line(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match character {
            ':' if fields.len() < 5 => fields.push(String::new()),
            '\\' => fields
                .last_mut()
                .expect("there is always a field")
                .extend(characters.next()),
            _ => fields.last_mut().expect("there is always a field").push(character),
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_this_machine_is_told_from_others() {
        assert!(is_of_this_machine("127.0.0.1".parse().unwrap()));
        // For documentation: nobody has it.
        assert!(!is_of_this_machine("192.0.2.1".parse().unwrap()));
    }

    #[test]
    fn the_first_line_of_the_password_file_that_fits_wins() {
        let content = "# a comment\nother:*:*:*:no\ndb:5432:log:ada:a\\:b:c\n*:*:*:*:late\n";
        assert_eq!(
            find_password(content, ["db", "5432", "log", "ada"]).as_deref(),
            Some("a:b:c")
        );
        assert_eq!(
            find_password(content, ["db", "5432", "log", "eve"]).as_deref(),
            Some("late")
        );
        assert_eq!(find_password("too:short\n", ["db", "5432", "log", "ada"]), None);
    }

    #[test]
    fn a_missing_certificate_is_named_with_its_key() {
        let url = "postgres://db/log?sslmode=verify-ca&sslrootcert=/nonexistent/ca.crt"
            .parse()
            .expect("it is a URL");
        let message = Connector::new(url).err().expect("there is no such file").to_string();
        assert!(
            message.contains("`/nonexistent/ca.crt` (`sslrootcert` in the database URL)"),
            "{message}"
        );
    }

    #[test]
    fn a_socket_needs_no_certificates() {
        let url = "postgres:///log?host=/run&sslmode=verify-ca&sslrootcert=/nonexistent/ca.crt";
        assert!(Connector::new(url.parse().expect("it is a URL")).is_ok());
    }
}
