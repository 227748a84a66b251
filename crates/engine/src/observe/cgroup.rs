//! Where a process stands among the control groups, and which systemd unit that is.

use std::collections::BTreeSet;

use super::Fact;

/// The facts in `/proc/<pid>/cgroup` (cgroups(7)): every path once, and the unit.
pub(super) fn facts(text: &str) -> Vec<Fact> {
    let lines = || text.lines().filter_map(line);
    let paths: BTreeSet<&str> = lines().map(|(_, path)| path).collect();
    let mut facts: Vec<Fact> = paths.into_iter().map(|path| ("unix", "cgroup", path.to_owned())).collect();
    // systemd's own hierarchy: the unified one, or its named one of version 1.
    let of = |wanted: &str| lines().find(|(controllers, _)| *controllers == wanted).map(|(_, path)| path);
    if let Some(path) = of("name=systemd").or_else(|| of("")) {
        let (unit, user_unit) = units(path);
        facts.extend(unit.map(|name| ("systemd", "unit", name)));
        facts.extend(user_unit.map(|name| ("systemd", "user_unit", name)));
    }
    facts
}

/// The controllers and the path of a line such as `0::/system.slice/sshd.service` or `4:memory:/docker/ab12`.
fn line(line: &str) -> Option<(&str, &str)> {
    let (number, rest) = line.split_once(':')?;
    number.parse::<u32>().ok()?;
    rest.split_once(':').filter(|(_, path)| path.starts_with('/'))
}

/// The unit of the system's manager, and that of the user's manager below it.
///
/// Each is the first segment behind the slices, as `sd_pid_get_unit(3)` has it. What lies further inside may have been
/// made by whoever a group was delegated to, under any name, and proves nothing.
fn units(path: &str) -> (Option<String>, Option<String>) {
    let mut segments = path.split('/').filter(|segment| !segment.is_empty());
    let mut next = || segments.find(|segment| !segment.ends_with(".slice")).map(unescaped).filter(|name| is_unit(name));
    let unit = next();
    let of_user = unit.is_some_and(|name| name.starts_with("user@"));
    let user_unit = if of_user { next() } else { None };
    (unit.map(str::to_owned), user_unit.map(str::to_owned))
}

fn is_unit(name: &str) -> bool {
    [".service", ".scope"].iter().any(|suffix| name.len() > suffix.len() && name.ends_with(suffix))
}

/// systemd puts a `_` before a name that the kernel could take for a file of its own.
fn unescaped(segment: &str) -> &str {
    segment.strip_prefix('_').unwrap_or(segment)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        facts(text).into_iter().map(|(attestor, key, value)| format!("{attestor}:{key}:{value}")).collect()
    }

    #[test]
    fn version_2_has_one_path() {
        let service = "0::/system.slice/sshd.service\n";
        assert_eq!(found(service), ["unix:cgroup:/system.slice/sshd.service", "systemd:unit:sshd.service"]);
        assert_eq!(found("0::/\n"), ["unix:cgroup:/"]);
        assert_eq!(found("0::/system.slice/system-getty.slice/getty@tty1.service")[1], "systemd:unit:getty@tty1.service");
        assert_eq!(found("0::/system.slice/_cgroup.service")[1], "systemd:unit:cgroup.service");
    }

    #[test]
    fn version_1_has_each_path_once_and_the_named_hierarchy() {
        let text = "12:memory:/docker/ab12\n11:cpu,cpuacct:/docker/ab12\n2:freezer:/\n1:name=systemd:/system.slice/docker.service\n0::/x\n";
        assert_eq!(
            found(text),
            [
                "unix:cgroup:/",
                "unix:cgroup:/docker/ab12",
                "unix:cgroup:/system.slice/docker.service",
                "unix:cgroup:/x",
                "systemd:unit:docker.service"
            ]
        );
    }

    #[test]
    fn a_unit_of_a_users_manager_is_none_of_the_system() {
        let text = "0::/user.slice/user-1000.slice/user@1000.service/app.slice/payments.service/inner.service";
        assert_eq!(found(text)[1..], ["systemd:unit:user@1000.service", "systemd:user_unit:payments.service"]);
        let session = "0::/user.slice/user-1000.slice/session-2.scope";
        assert_eq!(found(session)[1..], ["systemd:unit:session-2.scope"]);
    }

    /// Whoever has a delegated group can name what is inside it.
    #[test]
    fn a_name_further_inside_is_no_unit() {
        assert_eq!(found("0::/system.slice/mine.service/sshd.service")[1..], ["systemd:unit:mine.service"]);
        assert!(found("0::/docker/ab12/sshd.service")[1..].is_empty());
        assert!(found("0::/.service")[1..].is_empty());
    }

    #[test]
    fn what_is_not_as_expected_gives_nothing() {
        for text in ["", "0", "0:", "x::/a", "0::relative", "::/a"] {
            assert!(found(text).is_empty(), "{text}");
        }
    }
}
