//! Who listens at a TCP port of the loopback, as the kernel tells it below `/proc/net`. Above 1023 any user may where nobody else
//! does, and then answers in the place of a service that is not there.

use std::{collections::BTreeSet, io};

use super::Host;
use crate::order::Gather as _;

/// The kernel's word for a socket that takes connections.
const LISTENS: &str = "0A";

/// The users who take a connection to 127.0.0.1 at this port, more than one where they share it; none where nobody listens.
///
/// # Errors
/// When the kernel does not tell.
pub fn owners(host: &Host, port: u16) -> io::Result<BTreeSet<u32>> {
    let fourth = host.read("/proc/net/tcp")?;
    // Not there where the kernel has no sixth version.
    let sixth = match host.read("/proc/net/tcp6") {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        read => read?,
    };
    let (loopback, zero) = (word([127, 0, 0, 1]), word([0; 4]));
    // As the kernel chooses: who listens at that address goes before who listens at all of them. Somebody else may have one of
    // those that come later, and gets nothing by it.
    let places = [
        (&fourth, loopback.clone()),
        (&sixth, format!("{zero}{zero}{}{loopback}", word([0, 0, 0xff, 0xff]))),
        (&fourth, zero.clone()),
        (&sixth, zero.repeat(4)),
    ];
    for (table, address) in places {
        let place = format!("{address}:{port:04X}");
        let listeners = table.lines().filter_map(listener).filter(|(at, _)| *at == place);
        let owners: BTreeSet<u32> = listeners.map(|(_, owner)| owner).gather();
        if !owners.is_empty() {
            return Ok(owners);
        }
    }
    Ok(BTreeSet::new())
}

/// Four bytes of an address, as the kernel writes them: a number in the order of the machine.
fn word(bytes: [u8; 4]) -> String {
    format!("{:08X}", u32::from_ne_bytes(bytes))
}

/// `   0: 0100007F:0DA5 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 …`: where, and who.
fn listener(line: &str) -> Option<(&str, u32)> {
    let mut fields = line.split_whitespace();
    let (at, state) = (fields.nth(1)?, fields.nth(1)?);
    let owner = fields.nth(3)?.parse().ok()?;
    (state == LISTENS).then_some((at, owner))
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;
    use tempfile::TempDir;

    use super::*;

    const LOOPBACK: [u8; 4] = [127, 0, 0, 1];

    /// A row of the kernel's table.
    fn row(address: &[[u8; 4]], port: u16, state: &str, owner: u32) -> String {
        let address: String = address.iter().copied().map(word).collect();
        format!(
            "   0: {address}:{port:04X} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000 {owner:5}        0 77 1 0\n"
        )
    }

    fn with_tables(fourth: &str, sixth: &str) -> TempDir {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("proc/net")).unwrap();
        let head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";
        for (name, rows) in [("tcp", fourth), ("tcp6", sixth)] {
            std::fs::write(root.path().join("proc/net").join(name), format!("{head}{rows}")).unwrap();
        }
        root
    }

    /// A machine at whose loopback that user listens at that port.
    pub(in crate::host) fn where_listens(owner: u32, port: u16) -> TempDir {
        with_tables(&row(&[LOOPBACK], port, LISTENS, owner), "")
    }

    fn owners_of(fourth: &str, sixth: &str) -> Vec<u32> {
        let root = with_tables(fourth, sixth);
        owners(&Host::at(root.path()), 3493).unwrap().into_iter().collect()
    }

    #[test]
    fn who_takes_the_connection_is_told_and_nobody_who_listens_beside_him() {
        let at = |address: [u8; 4], owner: u32| row(&[address], 3493, LISTENS, owner);
        let sixth = |address: [[u8; 4]; 4], owner: u32| row(&address, 3493, LISTENS, owner);
        let (zero, mapped) = ([0; 4], [[0; 4], [0; 4], [0, 0, 255, 255], LOOPBACK]);
        assert_eq!(owners_of(&at(LOOPBACK, 1000), &sixth([zero; 4], 0)), [1000]);
        assert_eq!(owners_of(&at(zero, 0), &sixth(mapped, 1000)), [1000]);
        assert_eq!(owners_of(&at(zero, 0), &sixth([zero; 4], 1000)), [0], "who has the sixth version alone");
        assert_eq!(owners_of("", &sixth([zero; 4], 1000)), [1000]);
        assert_eq!(owners_of(&format!("{}{}", at(LOOPBACK, 0), at(LOOPBACK, 7)), ""), [0, 7]);
        let beside = [
            at([192, 0, 2, 1], 1000),
            row(&[LOOPBACK], 3494, LISTENS, 1000),
            row(&[LOOPBACK], 3493, "01", 1000),
            "garbage\n".to_owned(),
        ];
        assert_eq!(owners_of(&beside.concat(), &sixth([zero, zero, zero, [0, 0, 0, 1]], 1000)), Vec::<u32>::new());
    }

    #[tokio::test]
    async fn a_real_listener_is_found_in_the_kernels_own_tables() {
        let listener = tokio::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let owners = owners(&Host::at("/"), listener.local_addr().unwrap().port()).unwrap();
        assert_eq!(owners, BTreeSet::from([nix::unistd::geteuid().as_raw()]));
    }

    proptest! {
        #[test]
        fn no_line_makes_it_panic(line in ".{0,80}") {
            let _ = listener(&line);
        }
    }
}
