//! The certificate of a public CA: who is shown it, and what happens when its files change.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use marque_engine::IssuedX509;
use marque_server::tls::{Client, Tls};
use marque_server::web::{Web, WebError};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio_rustls::TlsConnector;

use crate::world::{LEAD, World, spiffe, within};

const NAME: &str = "marque.example.com";

/// A CA that clients know, and a directory with what it certified.
struct Scene {
    world: World,
    ca: CertifiedIssuer<'static, KeyPair>,
    dir: TempDir,
}

/// A certificate and its key.
struct Pair {
    certificate: String,
    der: Vec<u8>,
    key: String,
}

impl Scene {
    async fn start() -> Self {
        let mut ca = CertificateParams::default();
        ca.distinguished_name = DistinguishedName::new();
        ca.distinguished_name.push(DnType::CommonName, "public CA");
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap();
        Self { world: World::start().await, ca, dir: tempfile::tempdir().unwrap() }
    }

    fn certify(&self, name: &str) -> Pair {
        let pair = KeyPair::generate().unwrap();
        let issuer: &Issuer<'_, KeyPair> = &self.ca;
        let leaf = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&pair, issuer).unwrap();
        Pair { certificate: leaf.pem(), der: leaf.der().to_vec(), key: pair.serialize_pem() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Replaces a file, as what renews certificates does.
    fn put(&self, name: &str, text: &str, mode: u32) {
        let fresh = self.path("fresh");
        std::fs::write(&fresh, text).unwrap();
        std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(mode)).unwrap();
        std::fs::rename(fresh, self.path(name)).unwrap();
    }

    fn put_pair(&self, pair: &Pair) {
        self.put("web.pem", &pair.certificate, 0o644);
        self.put("web.key", &pair.key, 0o600);
    }

    fn open(&self, names: &[&str]) -> Result<Web, WebError> {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        Web::open(&self.path("web.pem"), &self.path("web.key"), &names)
    }

    fn plain(&self) -> Tls {
        Tls::new(Arc::clone(&self.world.engine), &["localhost".into(), "127.0.0.1".into()]).unwrap()
    }

    /// What a client is shown that asks for a name, and what the server learns of it.
    async fn meet(&self, tls: &Tls, name: &str, shows: Option<&IssuedX509>) -> (Vec<u8>, Client) {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let asked = ServerName::try_from(name.to_owned()).unwrap();
        let client = self.client(shows);
        let (stream, accepted) = within(async { tokio::join!(client.connect(asked, ours), tls.accept_on(theirs)) }).await;
        let (stream, (_, client)) = (stream.unwrap(), accepted.unwrap());
        let leaf = stream.get_ref().1.peer_certificates().unwrap()[0].to_vec();
        (leaf, client)
    }

    async fn leaf(&self, tls: &Tls, name: &str) -> Vec<u8> {
        self.meet(tls, name, None).await.0
    }

    /// A client that knows the public CA and the trust domain's.
    fn client(&self, shows: Option<&IssuedX509>) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(self.ca.der().clone()).unwrap();
        for der in &self.world.engine.authorities().bundle().x509_authorities {
            roots.add(CertificateDer::from(der.clone())).unwrap();
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_root_certificates(roots);
        let config = match shows {
            None => config.with_no_client_auth(),
            Some(issued) => {
                let chain = issued.svid.chain.iter().cloned().map(CertificateDer::from).collect();
                let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(issued.svid.key_pkcs8.to_vec()));
                config.with_client_auth_cert(chain, key).unwrap()
            }
        };
        TlsConnector::from(Arc::new(config))
    }
}

#[tokio::test]
async fn a_client_is_shown_the_certificate_of_the_name_that_it_asks_for() {
    let scene = Scene::start().await;
    let web = scene.certify(NAME);
    scene.put_pair(&web);
    let plain = scene.plain();
    let front = plain.with_web(scene.open(&[NAME]).unwrap()).unwrap();
    for name in [NAME, "MARQUE.example.com"] {
        assert_eq!(scene.leaf(&front, name).await, web.der, "{name}");
    }
    // Who gives an address asks for no name.
    for name in ["localhost", "127.0.0.1"] {
        let own = scene.leaf(&front, name).await;
        assert_ne!(own, web.der, "{name}");
        assert_eq!(own, scene.leaf(&front, name).await, "it goes on");
    }
    // Another listener of the same server does not have that name.
    assert_ne!(scene.leaf(&plain, "localhost").await, web.der);

    // Under either name a workload is known by its SVID, and nobody needs one.
    let agent = scene.world.agent(LEAD).await;
    let issued = scene.world.engine.x509_svid(&agent.instance).await.unwrap();
    for name in [NAME, "localhost"] {
        let (_, client) = scene.meet(&front, name, Some(&issued)).await;
        assert_eq!(client.workload.map(|workload| workload.identity), Some(spiffe(LEAD)), "{name}");
        let (_, nobody) = scene.meet(&front, name, None).await;
        assert!(nobody.workload.is_none() && nobody.thumbprint.is_none(), "{name}");
    }

    // A fresh SVID of the server changes nothing about the other certificate.
    let before = scene.leaf(&front, "localhost").await;
    front.renew().unwrap();
    assert_ne!(scene.leaf(&front, "localhost").await, before);
    assert_eq!(scene.leaf(&front, NAME).await, web.der);
}

#[tokio::test]
async fn files_that_change_are_read_again() {
    let scene = Scene::start().await;
    let (first, second, third) = (scene.certify(NAME), scene.certify("*.example.com"), scene.certify(NAME));
    scene.put_pair(&first);
    let front = scene.plain().with_web(scene.open(&[NAME]).unwrap()).unwrap();
    front.refresh_web();
    assert_eq!(scene.leaf(&front, NAME).await, first.der);
    scene.put_pair(&second);
    assert_eq!(scene.leaf(&front, NAME).await, first.der, "nobody has looked yet");
    front.refresh_web();
    assert_eq!(scene.leaf(&front, NAME).await, second.der, "a wildcard counts");

    // What is of no use is not shown: the last one goes on, as often as one looks.
    let other = scene.certify("other.example.com");
    let broken: [(&str, &str, u32); 6] = [
        ("web.pem", "-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n", 0o644),
        ("web.pem", "", 0o644),
        // The certificate of another key, as between two steps of a renewal.
        ("web.pem", &third.certificate, 0o644),
        ("web.pem", &other.certificate, 0o644),
        ("web.key", "", 0o600),
        ("web.key", &second.key, 0o640),
    ];
    for (name, text, mode) in broken {
        scene.put_pair(&second);
        scene.put(name, text, mode);
        for _ in 0..2 {
            front.refresh_web();
            assert_eq!(scene.leaf(&front, NAME).await, second.der, "{name} is `{text}`");
        }
    }
    std::fs::remove_file(scene.path("web.key")).unwrap();
    front.refresh_web();
    assert_eq!(scene.leaf(&front, NAME).await, second.der, "there is no key");
    scene.put_pair(&third);
    front.refresh_web();
    assert_eq!(scene.leaf(&front, NAME).await, third.der, "what is whole again is taken");
}

#[tokio::test]
async fn a_server_does_not_start_with_files_that_are_of_no_use() {
    let scene = Scene::start().await;
    let pair = scene.certify(NAME);
    let refused = |names: &[&str]| marque_engine::describe(&scene.open(names).unwrap_err());
    let said = refused(&[NAME]);
    assert!(said.contains("web.pem` cannot be read"), "{said}");
    scene.put("web.pem", &pair.certificate, 0o644);
    let said = refused(&[NAME]);
    assert!(said.contains("web.key` cannot be read"), "{said}");
    scene.put("web.key", &pair.key, 0o640);
    let said = refused(&[NAME]);
    assert!(said.contains("web.key` can be read by others: chmod 600 it"), "{said}");
    scene.put("web.key", &pair.certificate, 0o600);
    let said = refused(&[NAME]);
    assert!(said.contains("web.key` has no private key in PEM"), "{said}");
    scene.put("web.key", &scene.certify(NAME).key, 0o600);
    let said = refused(&[NAME]);
    assert!(said.contains("the certificate and its key cannot be used"), "{said}");
    scene.put_pair(&pair);
    let said = refused(&[NAME, "other.example.com"]);
    assert!(said.contains("the certificate is not for `other.example.com`"), "{said}");
    let said = refused(&["127.0.0.1"]);
    assert!(said.contains("`127.0.0.1` is no host name"), "{said}");
    scene.put("web.pem", &pair.key, 0o644);
    let said = refused(&[NAME]);
    assert!(said.contains("web.pem` has no certificates in PEM"), "{said}");
    scene.put_pair(&pair);
    assert!(scene.open(&[NAME]).is_ok());
}
