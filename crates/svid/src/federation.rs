//! Bundle endpoints of other trust domains: where they are, and who may answer there. Fetching is not done here.

use std::fmt;
use std::str::FromStr;

use marque_core::spiffe::{SpiffeId, TrustDomain};
use marque_core::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::bundle::{Bundle, BundleSet};
use crate::error::{Result, SvidError, shown};
use crate::x509::VerifiedX509Svid;

/// The relationship with a foreign trust domain: all three are configured, and none is derived from another (SPIFFE
/// Federation §5.1, §7.2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Relationship {
    /// Whose bundle is fetched (SPIFFE Federation §5.1).
    pub trust_domain: TrustDomain,
    /// Where (SPIFFE Federation §5.2.1.1).
    pub url: EndpointUrl,
    /// How the server there is authenticated (SPIFFE Federation §5.2).
    pub profile: Profile,
}

/// How a bundle endpoint is authenticated (SPIFFE Federation §5.2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "WrittenProfile", into = "WrittenProfile")]
pub enum Profile {
    /// By a certificate of a public CA for the URL's host (SPIFFE Federation §5.2.1).
    HttpsWeb,
    /// By an X.509-SVID (SPIFFE Federation §5.2.2).
    HttpsSpiffe {
        /// The one workload that may answer (SPIFFE Federation §5.2.2.2).
        endpoint_id: SpiffeId,
    },
}

/// A profile as it is written: with the parameters of its own kind and no others, so that none is taken for the other.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenProfile {
    profile: ProfileName,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    endpoint_id: Option<SpiffeId>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ProfileName {
    HttpsWeb,
    HttpsSpiffe,
}

impl TryFrom<WrittenProfile> for Profile {
    type Error = SvidError;

    fn try_from(written: WrittenProfile) -> Result<Self> {
        match (written.profile, written.endpoint_id) {
            (ProfileName::HttpsWeb, None) => Ok(Self::HttpsWeb),
            (ProfileName::HttpsSpiffe, Some(endpoint_id)) if !endpoint_id.path().is_empty() => {
                Ok(Self::HttpsSpiffe { endpoint_id })
            }
            _ => Err(SvidError::Document("`https_spiffe` has the SPIFFE ID of its endpoint, and `https_web` has none")),
        }
    }
}

impl From<Profile> for WrittenProfile {
    fn from(profile: Profile) -> Self {
        match profile {
            Profile::HttpsWeb => Self { profile: ProfileName::HttpsWeb, endpoint_id: None },
            Profile::HttpsSpiffe { endpoint_id } => Self { profile: ProfileName::HttpsSpiffe, endpoint_id: Some(endpoint_id) },
        }
    }
}

impl Relationship {
    /// Whether the server is of the trust domain whose bundle it serves (SPIFFE Federation §5.2.2.2).
    pub fn is_self_serving(&self) -> bool {
        self.server_trust_domain() == Some(&self.trust_domain)
    }

    /// The trust domain whose latest bundle authenticates the server; for `https_web` there is none (SPIFFE Federation
    /// §5.2.2.4).
    pub fn server_trust_domain(&self) -> Option<&TrustDomain> {
        match &self.profile {
            Profile::HttpsWeb => None,
            Profile::HttpsSpiffe { endpoint_id } => Some(endpoint_id.trust_domain()),
        }
    }

    /// Authenticates the server of an `https_spiffe` endpoint by its chain, DER and leaf first, whether it is the one
    /// configured or the target of a redirect (SPIFFE Federation §5.2.2.4).
    ///
    /// `latest` holds the newest bundles; before the first fetch of a self-serving endpoint, the one configured.
    pub fn check_server(&self, chain: &[&[u8]], latest: &BundleSet, now: Timestamp) -> Result<VerifiedX509Svid> {
        let Profile::HttpsSpiffe { endpoint_id } = &self.profile else {
            return Err(SvidError::Endpoint("a server of `https_web`".to_owned()));
        };
        // Its own bundle is what counts, so that a server of another trust domain finds none.
        let verified = crate::x509::verify_x509_svid(chain, latest.bundle(endpoint_id.trust_domain())?, now)?;
        if verified.id != *endpoint_id {
            return Err(SvidError::Endpoint(verified.id.to_string()));
        }
        Ok(verified)
    }

    /// Where a redirect leads, for this one fetch: the next begins at [`Relationship::url`] again (SPIFFE Federation
    /// §5.2.1.4). The caller bounds how many it follows.
    pub fn redirect(&self, from: &EndpointUrl, location: &str) -> Result<EndpointUrl> {
        from.join(location)
    }

    /// Reads what the endpoint answered: a bundle of this trust domain and no other (SPIFFE Federation §5.2.1.4, §7.3).
    pub fn read(&self, body: &[u8]) -> Result<Bundle> {
        Bundle::from_spiffe_json(self.trust_domain.clone(), body)
    }
}

/// A URL from which a bundle may be fetched: `https`, a host, no user information (SPIFFE Federation §5.2.1.1, §5.2.2.1).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EndpointUrl(String);

impl EndpointUrl {
    /// The URL as written (RFC 3986 §3).
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Host, and port if there is one (RFC 3986 §3.2).
    pub fn authority(&self) -> &str {
        self.parts().0
    }

    /// The host, without the port; a literal IPv6 address stands in brackets (RFC 3986 §3.2.2).
    pub fn host(&self) -> &str {
        let authority = self.authority();
        match authority.rfind(':') {
            Some(colon) if !authority.ends_with(']') => authority.get(..colon).unwrap_or(authority),
            _ => authority,
        }
    }

    /// The URL that a reference in an answer from here names: an absolute URL, or a path at the same authority (RFC 3986
    /// §5.2, RFC 9110 §10.2.2).
    pub fn join(&self, reference: &str) -> Result<Self> {
        match reference.strip_prefix("//") {
            Some(_) => format!("https:{reference}").parse(),
            None if reference.starts_with('/') => format!("https://{}{reference}", self.authority()).parse(),
            None => reference.parse(),
        }
    }

    fn parts(&self) -> (&str, &str) {
        let rest = self.0.get(SCHEME.len()..).unwrap_or_default();
        rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()))
    }
}

impl FromStr for EndpointUrl {
    type Err = SvidError;

    fn from_str(text: &str) -> Result<Self> {
        let refused = || SvidError::Url(shown(text));
        // RFC 3986 §2: what is neither reserved nor unreserved nor a percent sign stands in no URL. A backslash is one of
        // these, which some clients take for a slash.
        let good = |b: u8| b.is_ascii_graphic() && !matches!(b, b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}');
        let (scheme, rest) = text.split_at_checked(SCHEME.len()).ok_or_else(refused)?;
        if !scheme.eq_ignore_ascii_case(SCHEME) || text.len() > MAX_URL_BYTES || !text.bytes().all(good) {
            return Err(refused());
        }
        let url = Self(format!("{SCHEME}{rest}"));
        if !is_host_and_port(url.authority()) {
            return Err(refused());
        }
        Ok(url)
    }
}

impl fmt::Display for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for EndpointUrl {
    type Error = SvidError;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<EndpointUrl> for String {
    fn from(url: EndpointUrl) -> Self {
        url.0
    }
}

/// A host and perhaps a port, without user information (RFC 3986 §3.2).
pub(crate) fn is_host_and_port(authority: &str) -> bool {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, port)) if address.parse::<std::net::Ipv6Addr>().is_ok() => ("[]", port),
            _ => return false,
        },
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    let good_host =
        host == "[]" || !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
    let good_port = match port.strip_prefix(':') {
        Some(digits) => digits.bytes().all(|b| b.is_ascii_digit()) && digits.parse::<u16>().is_ok_and(|port| port != 0),
        None => port.is_empty(),
    };
    good_host && good_port
}

const SCHEME: &str = "https://";
const MAX_URL_BYTES: usize = 2048;

#[cfg(test)]
mod tests {
    use marque_core::time::Ttl;

    use super::*;
    use crate::authority::Authority;
    use crate::ca::X509Request;

    /// SPIFFE Federation §5.2.1.1, conformance line 39.
    #[test]
    fn urls() {
        for good in
            ["https://a.example", "HTTPS://a.example/b?c#d", "https://a:8443/@x", "https://[::1]:8443/", "https://1.2.3.4"]
        {
            assert!(good.parse::<EndpointUrl>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "https://",
            "http://a.example/",
            "https:/a",
            "https:a",
            "https:///a",
            "https://u@a.example/",
            "https://u:p@a.example/",
            "https://@a.example/",
            "https://a.example:/",
            "https://a.example:0/",
            "https://a.example:65536",
            "https://a.example:+1",
            "https://a b/",
            "https://a.example\\@b.example/",
            "https://a.example/\n",
            "https://[::1/",
            "https://[x]/",
            "https://::1/",
            "https://ä.example/",
            "ftp://a",
        ] {
            assert!(bad.parse::<EndpointUrl>().is_err(), "{bad}");
        }
        let url: EndpointUrl = "https://a.example:8443/b?c".parse().unwrap();
        assert_eq!((url.authority(), url.host()), ("a.example:8443", "a.example"));
        let url: EndpointUrl = "https://[::1]/b".parse().unwrap();
        assert_eq!(url.host(), "[::1]");
    }

    /// SPIFFE Federation §5.2.1.4, conformance line 41.
    #[test]
    fn redirects_lead_to_valid_urls_only() {
        let from: EndpointUrl = "https://a.example:8443/b".parse().unwrap();
        assert_eq!(from.join("/c").unwrap().as_str(), "https://a.example:8443/c");
        assert_eq!(from.join("//b.example/c").unwrap().as_str(), "https://b.example/c");
        assert_eq!(from.join("https://b.example").unwrap().as_str(), "https://b.example");
        for bad in ["http://a.example/", "//u@b.example/", "c", "", "/c d", "javascript:x"] {
            assert!(from.join(bad).is_err(), "{bad}");
        }
    }

    /// SPIFFE Federation §5.2.2.4, conformance line 40.
    #[test]
    fn the_server_is_the_one_configured() {
        const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);
        let authority = |name: &str| Authority::generate(&name.parse().unwrap(), NOW, Ttl::from_seconds(3600)).unwrap();
        let issue = |authority: &Authority, path: &str| {
            let id = authority.trust_domain().join(path).unwrap();
            let ttl = Ttl::from_seconds(60);
            let request = X509Request { id: &id, dns: &[], ips: &[], ttl, now: NOW, serial: [1; 16] };
            authority.issue_x509(request).unwrap().chain.remove(0)
        };
        let (old, new, other) = (authority("a.example"), authority("a.example"), authority("b.example"));
        let of = |authority: &Authority, sequence| Bundle::of(&[authority], sequence).unwrap();
        let endpoint_id: SpiffeId = "spiffe://a.example/bundles".parse().unwrap();
        let relationship = |trust_domain: &str| Relationship {
            trust_domain: trust_domain.parse().unwrap(),
            url: "https://a.example/bundle".parse().unwrap(),
            profile: Profile::HttpsSpiffe { endpoint_id: endpoint_id.clone() },
        };
        let ours = relationship("a.example");
        assert!(ours.is_self_serving() && !relationship("c.example").is_self_serving());
        let mut latest: BundleSet = [of(&old, 1), of(&other, 1)].into_iter().collect();
        let check =
            |authority: &Authority, path: &str, latest: &BundleSet| ours.check_server(&[&issue(authority, path)], latest, NOW);
        assert_eq!(check(&old, "/bundles", &latest).unwrap().id, endpoint_id);
        assert!(matches!(check(&old, "/other", &latest), Err(SvidError::Endpoint(_))));
        assert!(matches!(check(&other, "/bundles", &latest), Err(SvidError::TrustDomain(_))));
        assert!(check(&new, "/bundles", &latest).is_err());
        // The bundle that was fetched last is the one that counts.
        latest.offer(of(&new, 2)).unwrap();
        assert!(check(&new, "/bundles", &latest).is_ok());
        assert!(check(&old, "/bundles", &latest).is_err());
        latest.remove(old.trust_domain());
        assert!(matches!(check(&new, "/bundles", &latest), Err(SvidError::NoBundle(_))));
        let web = Relationship { profile: Profile::HttpsWeb, ..ours.clone() };
        assert!(web.check_server(&[&issue(&new, "/bundles")], &latest, NOW).is_err());
        let json = serde_json::to_string(&ours).unwrap();
        assert_eq!(serde_json::from_str::<Relationship>(&json).unwrap(), ours);
        assert!(json.contains(r#""profile":"https_spiffe""#), "{json}");
    }
}
