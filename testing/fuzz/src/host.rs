//! What the kernel's tables and the lists of names say of processes that name themselves as they like.

use std::net::{Ipv4Addr, SocketAddrV4};

use marque_engine::tables;

/// `/proc/<pid>/stat`: whatever a program is called, its parent and its start stand where they stand.
pub fn host_stat(data: &[u8]) {
    let name = String::from_utf8_lossy(data);
    for field in 0..64 {
        let _ = tables::stat(&name, field);
    }
    let text = format!("4242 ({name}) S 17 4242 4242 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 987654 0 0\n");
    assert_eq!(tables::stat(&text, 4), Some(17), "another parent: {text}");
    assert_eq!(tables::stat(&text, 22), Some(987_654), "another start: {text}");
    assert_eq!(tables::stat(&text, 99), None);
}

/// `/proc/<pid>/status`: as for the other table. A name's line ends are escaped by the kernel.
pub fn host_status(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for field in ["Uid:", "Gid:"] {
        assert!(tables::effective(&text, field).is_none_or(|id| !id.is_empty() && !id.contains([' ', '\t', '\n'])));
    }
    assert!(tables::supplementary(&text).iter().all(|gid| gid.parse::<u32>().is_ok()), "{text}");
    let name = text.replace('\n', "\\n");
    let text = format!("Name:\t{name}\nUmask:\t0022\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nGroups:\t4 24 \n");
    assert_eq!((tables::effective(&text, "Uid:"), tables::effective(&text, "Gid:")), (Some("2"), Some("6")), "{text}");
    assert_eq!(tables::supplementary(&text), ["4", "24"], "{text}");
}

/// `/proc/<pid>/cgroup`: paths that stand there, one unit of each manager at most, and none that lies inside of another. The
/// kernel takes no name with a line's end.
pub fn host_cgroup(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let facts = tables::cgroup(&text);
    let of = |key: &str| facts.iter().filter(|(_, found, _)| *found == key).map(|(.., value)| value.as_str()).collect::<Vec<_>>();
    assert!(of("cgroup").iter().all(|path| path.starts_with('/') && text.contains(path)), "{facts:?}");
    let (units, user_units) = (of("unit"), of("user_unit"));
    assert!(units.len() <= 1 && user_units.len() <= 1, "{facts:?}");
    let is_unit = |name: &&str| !name.contains('/') && (name.ends_with(".service") || name.ends_with(".scope"));
    assert!(units.iter().chain(&user_units).all(is_unit), "{facts:?}");
    assert!(user_units.is_empty() || units.iter().all(|unit| unit.starts_with("user@")), "{facts:?}");
    let inside = text.replace('\n', "");
    let facts = tables::cgroup(&format!("0::/system.slice/mine.service/{inside}\n"));
    let units: Vec<_> = facts.iter().filter(|(attestor, ..)| *attestor == "systemd").collect();
    assert_eq!(units, [&("systemd", "unit", "mine.service".to_owned())], "{facts:?}");
}

/// `/etc/passwd` and `/etc/group`: each name stands at the beginning of a line, and the first of a number counts.
pub fn host_names(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for name in tables::names(&text).into_values() {
        assert!(!name.is_empty() && !name.contains([':', '\n']), "{name:?}");
        assert!(text.lines().any(|line| line.strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with(':'))), "{name:?}");
    }
    let names = tables::names(&format!("first:x:7:7::/:/bin/sh\n{text}"));
    assert_eq!(names.get(&7).map(String::as_str), Some("first"), "{text}");
}

/// `/proc/<pid>/net/tcp`: a socket is that of a line with both addresses, in their order.
pub fn host_tcp(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Some(inode) = tables::socket(&text, THEIRS, OURS) {
        let is_it = |line: &str| {
            let fields: Vec<&str> = line.split_ascii_whitespace().collect();
            fields.contains(&written(THEIRS).as_str()) && fields.contains(&written(OURS).as_str()) && fields.contains(&inode)
        };
        assert!(inode != "0" && text.lines().any(is_it), "{inode}: {text}");
    }
    let line = |own, other| {
        format!("   0: {} {} 01 00000000:00000000 00:00000000 00000000  1000        0", written(own), written(other))
    };
    let table = format!("{} 4242 1 0\n{} 1717 1 0\n{text}", line(THEIRS, OURS), line(OURS, THEIRS));
    assert_eq!(tables::socket(&table, THEIRS, OURS), Some("4242"), "{table}");
    assert_eq!(tables::socket(&table, OURS, THEIRS), Some("1717"), "{table}");
}

/// As the kernel writes an address: the word as it lies in memory, and the port.
fn written(address: SocketAddrV4) -> String {
    format!("{:08X}:{:04X}", u32::from_ne_bytes(address.ip().octets()), address.port())
}

const THEIRS: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 40_000);
const OURS: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 8_444);
