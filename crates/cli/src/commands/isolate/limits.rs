//! What the command may not do, however it tries: Landlock for files and signals, seccomp for sockets.

use std::collections::BTreeMap;
use std::path::PathBuf;

use landlock::{
    ABI, Access as _, AccessFs, CompatLevel, Compatible as _, RestrictionStatus, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, RulesetError, RulesetStatus, Scope, path_beneath_rules,
};
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    apply_filter,
};

use super::needs;
use crate::failure::Result;

/// From here on: no new privileges, no writing but below `writable`, no mounting, no signals to processes outside, and no
/// look into their memory or environment. All of it or nothing, and it is for good.
pub(super) fn files_and_signals(writable: &[PathBuf]) -> Result<()> {
    let kernel = "Landlock of ABI 6 or newer (Linux 6.12, with `landlock` among the `lsm=`)";
    let status = restrict(writable).map_err(|e| needs(kernel, e))?;
    if status.ruleset != RulesetStatus::FullyEnforced || !status.no_new_privs {
        return Err(needs(kernel, "it holds in part only"));
    }
    Ok(())
}

fn restrict(writable: &[PathBuf]) -> std::result::Result<RestrictionStatus, RulesetError> {
    let write = AccessFs::from_write(ABI::V6);
    Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(write)?
        .scope(Scope::from_all(ABI::V6))?
        .create()?
        .add_rules(path_beneath_rules(writable, write))?
        .restrict_self()
}

/// From here on: no socket but those of the network namespace and pairs of one's own; no keys of the kernel's keyrings;
/// no input for the terminal; and no io_uring, which does what is refused here by another way.
pub(super) fn sockets() -> Result<()> {
    let kernel = "seccomp filters";
    let filters = [families(), forbidden()];
    for filter in filters {
        let filter = filter.map_err(|e| needs(kernel, e))?;
        apply_filter(&filter).map_err(|e| needs(kernel, e))?;
    }
    Ok(())
}

/// `socket` for a family that the network namespace does not cut: such a family is said to be unknown.
fn families() -> std::result::Result<BpfProgram, BackendError> {
    let other = |family: i32| argument(0, SeccompCmpOp::Ne, family);
    let none_of =
        [libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK].into_iter().map(other).collect::<std::result::Result<_, _>>()?;
    filter(vec![(libc::SYS_socket, vec![SeccompRule::new(none_of)?])], libc::EAFNOSUPPORT)
}

fn forbidden() -> std::result::Result<BpfProgram, BackendError> {
    let rule = |condition| SeccompRule::new(vec![condition]);
    // A pair of datagram sockets can be connected to other paths later; streams cannot.
    let datagrams = rule(argument(1, SeccompCmpOp::MaskedEq(SOCKET_TYPE), libc::SOCK_DGRAM)?)?;
    let to_terminal = || -> std::result::Result<_, BackendError> {
        Ok(vec![rule(argument(1, SeccompCmpOp::Eq, TIOCSTI)?)?, rule(argument(1, SeccompCmpOp::Eq, TIOCLINUX)?)?])
    };
    let mut rules = vec![
        (libc::SYS_socketpair, vec![datagrams]),
        (libc::SYS_ioctl, to_terminal()?),
        (libc::SYS_add_key, vec![]),
        (libc::SYS_keyctl, vec![]),
        (libc::SYS_request_key, vec![]),
        (libc::SYS_io_uring_setup, vec![]),
        (libc::SYS_io_uring_enter, vec![]),
        (libc::SYS_io_uring_register, vec![]),
    ];
    if cfg!(target_arch = "x86_64") {
        rules.push((X32 | X32_IOCTL, to_terminal()?));
    }
    filter(rules, libc::EPERM)
}

fn filter(rules: Vec<(i64, Vec<SeccompRule>)>, error: i32) -> std::result::Result<BpfProgram, BackendError> {
    let mut all: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    for (number, rules) in rules {
        // The same calls by their x32 numbers, which pass as calls of x86-64.
        if cfg!(target_arch = "x86_64") && number & X32 == 0 {
            all.insert(number | X32, rules.clone());
        }
        all.insert(number, rules);
    }
    let refused = SeccompAction::Errno(error.unsigned_abs());
    SeccompFilter::new(all, SeccompAction::Allow, refused, std::env::consts::ARCH.try_into()?)?.try_into()
}

/// Arguments of these calls are 32 bits wide; the kernel does not look at the rest.
fn argument(index: u8, is: SeccompCmpOp, value: i32) -> std::result::Result<SeccompCondition, BackendError> {
    SeccompCondition::new(index, SeccompCmpArgLen::Dword, is, u64::from(value.unsigned_abs()))
}

const SOCKET_TYPE: u64 = 0xf;
const TIOCSTI: i32 = 0x5412;
const TIOCLINUX: i32 = 0x541c;
const X32: i64 = 0x4000_0000;
const X32_IOCTL: i64 = 514;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filters_are_programs_that_the_kernel_takes() {
        for filter in [families().unwrap(), forbidden().unwrap()] {
            assert!((1..4096).contains(&filter.len()));
        }
    }
}
