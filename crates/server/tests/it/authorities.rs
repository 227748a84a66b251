//! The signing keys, while the device hangs that keeps the key above them.

use std::sync::{Arc, Condvar, Mutex};

use marque_engine::{AuthorityVerb, Curve, KeyKind, SvidError, UpstreamCa, UpstreamKey};
use marque_svid::{P256Key, SigningBackend};
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, KeyPair, KeyUsagePurpose};
use tokio::sync::watch;
use zeroize::Zeroizing;

use crate::world::{World, within};

/// Where the key of an upstream CA is. It answers when it pleases.
#[derive(Debug)]
struct Device {
    key: P256Key,
    hangs: Mutex<bool>,
    let_go: Condvar,
    /// How often it was asked.
    asked: watch::Sender<u64>,
}

/// A device that hangs until this ends.
struct Hung(Arc<Device>);

impl Drop for Hung {
    fn drop(&mut self) {
        *self.0.hangs.lock().unwrap() = false;
        self.0.let_go.notify_all();
    }
}

impl Device {
    /// The device, and the CA whose key it keeps.
    fn new() -> (Arc<Self>, UpstreamCa) {
        let pair = KeyPair::generate().unwrap();
        let mut root = CertificateParams::default();
        root.distinguished_name = DistinguishedName::new();
        root.distinguished_name.push(DnType::CommonName, "root");
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        root.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let root = root.self_signed(&pair).unwrap();
        let key = P256Key::from_pkcs8(Zeroizing::new(pair.serialize_der())).unwrap();
        let device = Arc::new(Self { key, hangs: Mutex::new(false), let_go: Condvar::new(), asked: watch::channel(0).0 });
        let key: Arc<dyn UpstreamKey> = device.clone();
        (device, UpstreamCa::with_key(&root.pem(), key, None).unwrap())
    }

    fn hang(self: &Arc<Self>) -> Hung {
        *self.hangs.lock().unwrap() = true;
        Hung(Arc::clone(self))
    }
}

impl UpstreamKey for Device {
    fn curve(&self) -> Curve {
        Curve::P256
    }

    fn point(&self) -> &[u8] {
        self.key.public_point()
    }

    fn sign_raw(&self, message: &[u8]) -> Result<Vec<u8>, SvidError> {
        self.asked.send_modify(|asked| *asked += 1);
        drop(self.let_go.wait_while(self.hangs.lock().unwrap(), |hangs| *hangs).unwrap());
        Ok(self.key.sign(message)?.to_vec())
    }
}

/// Time goes on, other keys follow each other, and the one that was asked for comes when the device is back.
#[tokio::test]
async fn a_device_that_hangs_holds_up_nothing_else() {
    let (device, ca) = Device::new();
    let world = World::start_as(|options| options.upstream = Some(Arc::new(ca))).await;
    let prepared = || {
        let mut kinds: Vec<String> =
            world.engine.authority_list().into_iter().filter(|key| key.phase == "prepared").map(|key| key.kind).collect();
        kinds.sort();
        kinds
    };
    let mut asked = device.asked.subscribe();
    asked.mark_unchanged();
    let hung = device.hang();
    let (engine, admin) = (Arc::clone(&world.engine), world.admin.clone());
    let prepare = async move { engine.change_authority(&admin, AuthorityVerb::Prepare, KeyKind::X509, None, "test").await };
    let prepare = tokio::spawn(prepare);
    within(asked.changed()).await.unwrap();

    within(world.engine.tick()).await.unwrap();
    for kind in [KeyKind::X509, KeyKind::Jwt, KeyKind::Wit] {
        assert!(within(world.engine.rotate(kind)).await.unwrap(), "nothing is due");
    }
    let jwt = world.engine.change_authority(&world.admin, AuthorityVerb::Prepare, KeyKind::Jwt, None, "test");
    within(jwt).await.unwrap();
    assert_eq!(prepared(), ["jwt"]);
    assert!(!prepare.is_finished());

    drop(hung);
    within(prepare).await.unwrap().unwrap();
    assert_eq!(prepared(), ["jwt", "x509"], "neither change is lost");
}
