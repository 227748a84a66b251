//! Configuration of the trust domain's keys, of other trust domains, and of issuers whose tokens attest workloads.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use marque_core::spiffe::TrustDomain;
use marque_core::time::Ttl;
use marque_engine::{
    Bundle, EndpointUrl, Engine, EngineError, IssuerUrl, Profile, Relationship, RotationPolicy, TrustedIssuer, UpstreamCa,
    describe,
};
use marque_server::federation;
use serde::{Deserialize, Deserializer};

use crate::device::Pkcs11Config;
use crate::failure::{Failure, Result};
use crate::files::{read, unreadable};

/// `[authority]`: how long the trust domain's signing keys live, and who signs its CAs.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthorityConfig {
    /// How long a CA lives, as `90d`. Default: 90 days.
    #[serde(deserialize_with = "ttl")]
    pub ca_ttl: Option<Ttl>,
    /// How long a key for tokens lives. Default: 30 days.
    #[serde(deserialize_with = "ttl")]
    pub token_key_ttl: Option<Ttl>,
    /// The longest life of an X.509-SVID. Default and most: an hour.
    #[serde(deserialize_with = "ttl")]
    pub x509_svid_ttl: Option<Ttl>,
    /// The longest life of a token. Default: an hour; JWT-SVIDs and task tokens live five minutes at most anyway.
    #[serde(deserialize_with = "ttl")]
    pub token_ttl: Option<Ttl>,
    /// How long a key is published before it is used. Default: 25 minutes.
    #[serde(deserialize_with = "ttl")]
    pub publish_ahead: Option<Ttl>,
    /// An upstream CA that signs the trust domain's CAs: a PEM file with its certificate and those above it, and its key in
    /// another one or in a device.
    pub upstream: Option<UpstreamConfig>,
}

/// `[authority.upstream]`: an upstream CA, its key on disk or in a device.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpstreamConfig {
    /// The CA's certificate and those between it and a root, PEM, the CA's first.
    pub certificate: PathBuf,
    /// The CA's private key, PKCS#8 in PEM, in a file that only its owner reads.
    pub key: Option<PathBuf>,
    /// The device that keeps the CA's private key, on P-256 or P-384; instead of `key`.
    pub pkcs11: Option<Pkcs11Config>,
    /// The roots, PEM; without it, the last certificate of `certificate`.
    pub roots: Option<PathBuf>,
}

/// `[[federation]]`: a trust domain whose bundle is fetched.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FederationConfig {
    /// Its name.
    pub trust_domain: TrustDomain,
    /// Its bundle endpoint.
    pub url: EndpointUrl,
    /// The SPIFFE ID that the endpoint shows (`https_spiffe`); without it, a certificate of a public CA (`https_web`).
    pub endpoint_id: Option<marque_core::spiffe::SpiffeId>,
    /// A file with its bundle, to begin with. An endpoint that shows an X.509-SVID of its own trust domain needs one.
    pub bundle: Option<PathBuf>,
}

/// `[[oidc]]`: an issuer whose tokens attest workloads, such as CI jobs.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OidcConfig {
    /// Its name, exactly as its tokens have it, as `https://token.actions.githubusercontent.com`.
    pub issuer: IssuerUrl,
    /// For whom its tokens must be meant: any of these.
    pub audiences: Vec<String>,
    /// A file with its keys (JWKS), for an issuer that cannot be reached; without it they are fetched and kept fresh.
    pub jwks: Option<PathBuf>,
}

impl AuthorityConfig {
    /// The rules of rotation.
    pub fn rotation(&self) -> Result<RotationPolicy> {
        let mut policy = RotationPolicy::default();
        let set = |to: &mut Ttl, from: Option<Ttl>| *to = from.unwrap_or(*to);
        set(&mut policy.x509_lifetime, self.ca_ttl);
        set(&mut policy.token_lifetime, self.token_key_ttl);
        set(&mut policy.x509_svid_max, self.x509_svid_ttl);
        set(&mut policy.token_max, self.token_ttl);
        set(&mut policy.publish_ahead, self.publish_ahead);
        policy.check().map_err(|e| Failure::input(format!("[authority]: {e}")))?;
        Ok(policy)
    }

    /// The upstream CA.
    pub fn upstream(&self) -> Result<Option<Arc<UpstreamCa>>> {
        let Some(config) = &self.upstream else { return Ok(None) };
        let text = |path: &Path, setting: &str| {
            let bytes = read(path).map_err(|e| e.of(&format!("[authority.upstream] {setting}")))?;
            Ok::<_, Failure>(String::from_utf8_lossy(&bytes).into_owned())
        };
        let certificate = text(&config.certificate, "certificate")?;
        let roots = config.roots.as_deref().map(|roots| text(roots, "roots")).transpose()?;
        let ca = match (&config.key, &config.pkcs11) {
            (Some(key), None) => {
                private(key).map_err(|e| e.of("[authority.upstream] key"))?;
                UpstreamCa::from_pem(&certificate, &zeroize::Zeroizing::new(text(key, "key")?), roots.as_deref())
            }
            (None, Some(device)) => UpstreamCa::with_key(&certificate, device.upstream_key()?, roots.as_deref()),
            _ => return Err(Failure::input("[authority.upstream]: one of `key` and `pkcs11` is needed")),
        };
        let ca = ca.map_err(|e| Failure::input(format!("[authority.upstream]: {e}")))?;
        Ok(Some(Arc::new(ca.in_file(&config.certificate))))
    }
}

/// Begins to follow other trust domains and issuers; it ends with the server.
pub fn follow(engine: &Arc<Engine>, domains: &[FederationConfig], issuers: &[OidcConfig]) -> Result<()> {
    for domain in domains {
        if let Some(file) = &domain.bundle
            && engine.foreign_bundles().get(&domain.trust_domain).is_none()
        {
            let setting = format!("[[federation]] bundle of `{}`", domain.trust_domain);
            let bytes = read(file).map_err(|e| e.of(&setting))?;
            let refused =
                |e: &dyn std::error::Error| Failure::input(format!("`{}`: {}", file.display(), describe(e))).of(&setting);
            let bundle = Bundle::from_spiffe_json(domain.trust_domain.clone(), &bytes).map_err(|e| refused(&e))?;
            // Not what the disk does: that is no fault of the file.
            engine.offer_bundle(bundle).map_err(|e| match e {
                EngineError::Invalid(_) | EngineError::Svid(_) => refused(&e),
                other => other.into(),
            })?;
        }
        let profile = match &domain.endpoint_id {
            Some(id) => Profile::HttpsSpiffe { endpoint_id: id.clone() },
            None => Profile::HttpsWeb,
        };
        let (trust_domain, url) = (domain.trust_domain.clone(), domain.url.clone());
        tokio::spawn(federation::follow(Arc::clone(engine), Relationship { trust_domain, url, profile }));
    }
    for issuer in issuers {
        let trusted = TrustedIssuer { issuer: issuer.issuer.clone(), audiences: issuer.audiences.clone() };
        match &issuer.jwks {
            Some(file) => {
                let setting = format!("[[oidc]] jwks of `{}`", issuer.issuer);
                let jwks = read(file).map_err(|e| e.of(&setting))?;
                engine
                    .trust_issuer(&trusted, &jwks)
                    .map_err(|e| Failure::input(format!("`{}`: {}", file.display(), describe(&e))).of(&setting))?;
            }
            None => {
                tokio::spawn(federation::follow_issuer(Arc::clone(engine), trusted));
            }
        }
    }
    Ok(())
}

/// A key that others can read is no key.
fn private(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let meta = std::fs::metadata(path).map_err(|e| unreadable(path, &e))?;
    if meta.permissions().mode() & 0o077 != 0 {
        return Err(Failure::input(format!("`{}` can be read by others: chmod 600 it", path.display())));
    }
    Ok(())
}

/// A length of time as people write it: `30m`, `24h`, `90d`.
pub fn ttl<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Option<Ttl>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let days = text.strip_suffix('d').and_then(|days| days.parse::<u64>().ok());
    let parsed = match days {
        Some(days) => Ok(Ttl::from_minutes(days.saturating_mul(24 * 60))),
        None => text.parse(),
    };
    parsed.map(Some).map_err(serde::de::Error::custom)
}
