//! `cargo xtask gen`: `crates/server/src/pb/*.rs` from `crates/server/proto/*.proto`.
//!
//! The compiler for protocol buffers is heavy, so it sits behind the feature `gen`; without it the verb runs itself again with it.

use crate::tools::Workspace;
use crate::{Flags, Stop};

/// Generates, or with `--check` compares with what is checked in.
pub fn run(workspace: &Workspace, args: &[String]) -> Result<(), Stop> {
    let flags = Flags::parse(args, &["--check"], &[])?;
    flags.no_names()?;
    Ok(generate(workspace, flags.has("--check"))?)
}

#[cfg(not(feature = "gen"))]
fn generate(workspace: &Workspace, check: bool) -> Result<(), String> {
    let again = ["run", "--quiet", "--package", "xtask", "--features", "gen", "--", "gen"];
    crate::tools::Cargo::new(workspace, &again).args(check.then_some("--check")).hand_over()
}

#[cfg(feature = "gen")]
use compile::generate;

#[cfg(feature = "gen")]
mod compile {
    use std::collections::BTreeMap;
    use std::path::{Path, PathBuf};
    use std::process::Command;

    use crate::report::say;
    use crate::tools::{self, Workspace};

    pub(super) fn generate(workspace: &Workspace, check: bool) -> Result<(), String> {
        let protos = protos(&workspace.root.join("crates/server/proto"))?;
        let scratch = workspace.target.join("xtask-gen");
        let made = compile(&protos, &scratch, &workspace.root)?;
        let pb = workspace.root.join("crates/server/src/pb");
        let mut differ = Vec::new();
        for (name, code) in &made {
            let path = pb.join(name);
            let same = std::fs::read(&path).is_ok_and(|old| old == *code);
            if same {
                say(&format!("{name} is up to date"));
            } else if check {
                differ.push(name.as_str());
            } else {
                std::fs::create_dir_all(&pb).and_then(|()| std::fs::write(&path, code)).map_err(at(&path))?;
                say(&format!("{name} is written"));
            }
        }
        if differ.is_empty() {
            return Ok(());
        }
        Err(format!("{} differ from the protocol files; run `cargo xtask gen` and commit the result", differ.join(", ")))
    }

    fn protos(folder: &Path) -> Result<Vec<PathBuf>, String> {
        let mut paths = tools::entries(folder)?;
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "proto"));
        paths.sort();
        if paths.is_empty() { Err(format!("there is no protocol file in `{}`", folder.display())) } else { Ok(paths) }
    }

    /// What the protocol files say.
    fn parsed(protos: &[PathBuf]) -> Result<protox::Compiler, String> {
        let failed = |error: protox::Error| format!("cannot compile the protocol files: {error}");
        let mut compiler = protox::Compiler::new(protos.iter().take(1).filter_map(|path| path.parent())).map_err(failed)?;
        compiler.include_imports(true).include_source_info(true).open_files(protos).map_err(failed)?;
        Ok(compiler)
    }

    /// The descriptors of what is served on the Workload API's socket, without comments.
    fn descriptors(protos: &[PathBuf]) -> Result<Vec<u8>, String> {
        let served: Vec<PathBuf> = protos.iter().filter(|path| !path.ends_with("broker.proto")).cloned().collect();
        Ok(parsed(&served)?.include_source_info(false).encode_file_descriptor_set())
    }

    /// The generated files by name, code formatted as the rest of the code is.
    fn compile(protos: &[PathBuf], scratch: &Path, root: &Path) -> Result<BTreeMap<String, Vec<u8>>, String> {
        let set = parsed(protos)?.file_descriptor_set();
        let mut unnamed = set.file.iter().filter(|file| file.package().is_empty()).map(|file| file.name().to_owned());
        let unnamed = match (unnamed.next(), unnamed.next()) {
            (Some(one), Some(two)) => return Err(format!("`{one}` and `{two}` have no package: they would share one file")),
            (one, _) => one.map(|name| name.replace(".proto", ".rs")),
        };
        if scratch.exists() {
            std::fs::remove_dir_all(scratch).map_err(at(scratch))?;
        }
        std::fs::create_dir_all(scratch).map_err(at(scratch))?;
        tonic_prost_build::configure()
            .build_client(false)
            .build_transport(false)
            .skip_debug(SECRET)
            .out_dir(scratch)
            .emit_rerun_if_changed(false)
            .compile_fds(set)
            .map_err(|error| format!("cannot generate code: {error}"))?;
        let mut made = BTreeMap::from([("descriptors.bin".to_owned(), descriptors(protos)?)]);
        for path in tools::entries(scratch)? {
            let code = std::fs::read_to_string(&path).map_err(at(&path))?;
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            // A protocol file without a package becomes `_.rs`; the well-known types come from `prost-types`.
            let name = if name == "_.rs" { unnamed.clone().unwrap_or(name) } else { name };
            if !name.starts_with("google.") {
                std::fs::write(&path, format!("{HEADER}\n{code}")).map_err(at(&path))?;
                let mut rustfmt = Command::new("rustfmt");
                rustfmt.args(["--edition", "2024", "--config-path"]).arg(root).arg(&path);
                tools::run(rustfmt)?;
                made.insert(name, std::fs::read(&path).map_err(at(&path))?);
            }
        }
        Ok(made)
    }

    fn at(path: &Path) -> impl Fn(std::io::Error) -> String {
        let path = path.display().to_string();
        move |error| format!("`{path}`: {error}")
    }

    const HEADER: &str = "\
// @generated by cargo xtask gen; do not edit
#![allow(clippy::all, clippy::restriction, missing_docs, unused_qualifications, reason = \"generated code\")]
";

    /// What carries a private key or a token has no `Debug`: it cannot be printed by accident.
    const SECRET: [&str; 16] = [
        "X509SVID",
        "X509SVIDResponse",
        "JWTSVID",
        "JWTSVIDResponse",
        "ValidateJWTSVIDRequest",
        "WITSVID",
        "WITSVIDResponse",
        "SubscribeToX509SVIDResponse",
        "FetchJWTSVIDResponse",
        "DataSource",
        "TlsCertificate",
        "CertificateValidationContext",
        "Secret",
        "SPIFFECertValidatorConfig",
        "SPIFFECertValidatorConfig.TrustDomain",
        "DiscoveryResponse",
    ];
}
