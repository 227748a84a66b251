//! The crate `spiffe` as a workload: fetches all that the Workload API gives, and checks it with the bundles it gave.

use std::process::{Command, ExitCode};
use std::sync::Arc;

use serde_json::{Value, json};
use spiffe::{
    JwtBundleSet, JwtSvid, JwtSvidError, JwtVerificationErrorKind, SpiffeId, TrustDomain, WorkloadApiClient, WorkloadApiError,
    X509Bundle, X509Context,
};
use tokio::runtime::Runtime;

use crate::fault::{Fault, Heard, Result, need};
use crate::process::{finish, renamed};
use crate::world::World;

/// Runs the judge.
pub fn judge(world: &World) -> Result<Heard> {
    let mut seen = runtime()?.block_on(talk(&world.site.addresses.workload_api))?;
    let refused = unknown(world)?;
    if let Some(map) = seen.as_object_mut() {
        map.insert("stranger".to_owned(), json!(refused));
    }
    Ok(Heard::seen(seen))
}

/// This program's own X.509-SVID and bundle, for the other judges.
pub fn x509_context(world: &World) -> Result<X509Context> {
    runtime()?.block_on(async {
        let client = WorkloadApiClient::connect_to(&world.site.addresses.workload_api).await?;
        Ok(client.fetch_x509_context().await?)
    })
}

/// Makes the log longer: every JWT-SVID is one entry or more.
pub fn fetch_jwt_svids(world: &World, count: u32) -> Result<()> {
    runtime()?.block_on(async {
        let client = WorkloadApiClient::connect_to(&world.site.addresses.workload_api).await?;
        for _ in 0..count {
            client.fetch_jwt_svid([AUDIENCE], None).await?;
        }
        Ok(())
    })
}

/// The whole of a process that no identity fits: it must be told so by the Workload API.
pub fn stranger(socket: &str) -> ExitCode {
    let asked = runtime().map(|runtime| {
        runtime.block_on(async {
            WorkloadApiClient::connect_to(socket).await?.fetch_x509_svid().await.map(|svid| svid.spiffe_id().to_string())
        })
    });
    match asked {
        Ok(Err(WorkloadApiError::PermissionDenied(why))) => {
            println!("PermissionDenied: {why}");
            ExitCode::SUCCESS
        }
        Ok(Err(refused @ WorkloadApiError::NoIdentityIssued)) => {
            println!("PermissionDenied: {refused}");
            ExitCode::SUCCESS
        }
        Ok(Err(other)) => {
            println!("another error: {other}");
            ExitCode::FAILURE
        }
        Ok(Ok(id)) => {
            println!("it is `{id}`");
            ExitCode::FAILURE
        }
        Err(fault) => {
            println!("{fault}");
            ExitCode::FAILURE
        }
    }
}

/// What the asynchronous clients run on.
pub fn runtime() -> Result<Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

async fn talk(socket: &str) -> Result<Value> {
    let client = WorkloadApiClient::connect_to(socket).await?;
    let (domain, x509) = x509(&client).await?;
    let jwt = jwt(&client, &domain).await?;
    Ok(json!({ "x509": x509, "jwt": jwt }))
}

async fn x509(client: &WorkloadApiClient) -> Result<(TrustDomain, Value)> {
    let context = client.fetch_x509_context().await?;
    let svid = context.default_svid().ok_or_else(|| Fault::new("there is no X.509-SVID"))?;
    let id = svid.spiffe_id();
    need(id.to_string() == OWN, format!("the X.509-SVID is of `{id}`"))?;
    let domain = id.trust_domain().clone();
    let alone = client.fetch_x509_bundles().await?;
    let own = authorities(context.bundle_set().get(&domain));
    need(!own.is_empty(), "the SVID came without its trust domain's bundle")?;
    need(own == authorities(alone.get(&domain)), "the two ways to the bundle give different ones")?;
    let seen = json!({ "id": id.to_string(), "chain": svid.cert_chain().len(), "authorities": own.len() });
    Ok((domain, seen))
}

fn authorities(bundle: Option<Arc<X509Bundle>>) -> Vec<Vec<u8>> {
    bundle.iter().flat_map(|bundle| bundle.authorities()).map(|one| one.as_bytes().to_vec()).collect()
}

async fn jwt(client: &WorkloadApiClient, domain: &TrustDomain) -> Result<Value> {
    let svid = client.fetch_jwt_svid([AUDIENCE], None).await?;
    need(svid.spiffe_id().to_string() == OWN, format!("the JWT-SVID is of `{}`", svid.spiffe_id()))?;
    need(svid.audience() == [AUDIENCE.to_owned()], format!("the JWT-SVID is for {:?}", svid.audience()))?;
    let bundles = client.fetch_jwt_bundles().await?;
    need(bundles.get(domain).is_some(), "there is no JWT bundle")?;
    let valid = client.validate_jwt_token(AUDIENCE, svid.token()).await?;
    need(valid.spiffe_id() == svid.spiffe_id(), "the validated SVID is another's")?;
    offline(&svid, &bundles)?;
    let audience = match client.validate_jwt_token(OTHER, svid.token()).await {
        Err(error) if error.is_invalid_argument() => Fault::from(error).to_string(),
        Err(error) => return Err(Fault::new(format!("another audience ended with another error: {error}"))),
        Ok(_) => return Err(Fault::new("another audience was not refused")),
    };
    let other = SpiffeId::new(format!("spiffe://{}/agent/not-this-one", domain.as_str()))?;
    let identity = match client.fetch_jwt_svid([AUDIENCE], Some(&other)).await {
        Err(WorkloadApiError::PermissionDenied(why)) => why,
        Err(error) => return Err(Fault::new(format!("another identity ended with another error: {error}"))),
        Ok(_) => return Err(Fault::new("a JWT-SVID of another identity was given")),
    };
    Ok(json!({ "key": svid.key_id(), "other_audience": audience, "other_identity": identity }))
}

/// The same with the bundle alone.
fn offline(svid: &JwtSvid, bundles: &JwtBundleSet) -> Result<()> {
    let valid = JwtSvid::parse_and_validate(svid.token(), bundles, &[AUDIENCE])?;
    need(valid.spiffe_id() == svid.spiffe_id(), "offline the SVID is another's")?;
    match JwtSvid::parse_and_validate(svid.token(), bundles, &[OTHER]) {
        Err(JwtSvidError::InvalidToken(error)) if error.kind() == JwtVerificationErrorKind::AudienceMismatch => Ok(()),
        Err(error) => Err(Fault::new(format!("offline another audience ended with another error: {error}"))),
        Ok(_) => Err(Fault::new("offline another audience was not refused")),
    }
}

/// This program under another name is another executable, and nobody.
fn unknown(world: &World) -> Result<String> {
    let path = renamed(world.dir().join(STRANGER))?;
    let mut command = Command::new(path);
    let ended = finish(command.arg(STRANGER).arg(&world.site.addresses.workload_api), "")?.well("the stranger")?;
    Ok(ended.output.trim().to_owned())
}

/// The word that makes this program a stranger.
pub const STRANGER: &str = "stranger";
/// Who this program is, by the manifest.
pub const OWN: &str = "spiffe://example.org/agent/interop";
const AUDIENCE: &str = "test";
const OTHER: &str = "somebody-else";
