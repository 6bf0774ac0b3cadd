//! What the kernel says of links and addresses, read from rtnetlink's bytes. Pure.
//!
//! Only the attributes that are asked for are read, each by itself: a newer kernel may say more, or say the rest in
//! another way, and nothing is lost by it. What cannot be read is left out; no bytes make this panic.

use std::net::IpAddr;

use netlink_packet_core::{NLA_HEADER_SIZE, NLM_F_DUMP_INTR, NLMSG_DONE, NLMSG_ERROR, NetlinkBuffer, NlasIterator};

/// Length of `struct ifinfomsg`, the head of every message on a link.
pub(super) const LINK_HEAD_BYTES: usize = 16;
/// Length of `struct ifaddrmsg`, the head of every message on an address.
pub(super) const ADDRESS_HEAD_BYTES: usize = 8;
/// `IFLA_INFO_KIND`, within `IFLA_LINKINFO`; libc does not carry it.
const INFO_KIND: u16 = 1;

/// One thing that the kernel said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetlinkMessage {
    /// A link as it is now.
    Link(Link),
    /// The link of this index is gone.
    LinkGone(u32),
    /// An address as it is now.
    Address(Address),
    /// An address is gone.
    AddressGone(Address),
}

impl NetlinkMessage {
    /// Index of the link that it is about.
    pub fn index(&self) -> u32 {
        match self {
            NetlinkMessage::Link(link) => link.index,
            NetlinkMessage::LinkGone(index) => *index,
            NetlinkMessage::Address(address) | NetlinkMessage::AddressGone(address) => address.index,
        }
    }
}

/// A network interface. Absent attributes are as they were.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The kernel's number for it; holds until it is removed, also when it is renamed.
    pub index: u32,
    pub name: Option<String>,
    /// Hardware address, bytes in hexadecimal with colons between; empty when it has none.
    pub mac: Option<String>,
    /// Largest packet, bytes.
    pub mtu: Option<u32>,
    /// What drives it when it is made by software (`veth`, `bridge`, `vlan`, …); empty for hardware.
    pub kind: Option<String>,
    /// Whether it is the loopback.
    pub loopback: bool,
    /// Administratively up.
    pub enabled: bool,
    /// There is a carrier. Always false while not enabled.
    pub carrier: bool,
    /// Packets can pass: the operational state is up, or not known to the driver.
    pub running: bool,
    /// There is a carrier, and something above still has to say yes (802.1X).
    pub dormant: bool,
}

/// An address of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Index of the interface.
    pub index: u32,
    /// The interface's own address, also on a point-to-point link.
    pub ip: IpAddr,
    /// Duplicate detection is still under way, or has failed: not usable.
    pub tentative: bool,
}

/// The contents of one datagram.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Datagram {
    pub(super) messages: Vec<NetlinkMessage>,
    /// The end of a dump.
    pub(super) done: bool,
    /// Something changed during the dump: it may lack entries.
    pub(super) interrupted: bool,
    /// The request was refused, with this error number.
    pub(super) refused: Option<i32>,
}

/// Reads a datagram, as far as it can be read.
pub(super) fn parse(mut bytes: &[u8]) -> Datagram {
    let mut datagram = Datagram::default();
    while let Ok(message) = NetlinkBuffer::new_checked(bytes) {
        datagram.interrupted |= message.flags() & NLM_F_DUMP_INTR != 0;
        let body = message.payload();
        match message.message_type() {
            NLMSG_DONE => datagram.done = true,
            NLMSG_ERROR => datagram.refused = body.first_chunk().map(|code| i32::from_ne_bytes(*code).saturating_neg()),
            kind => datagram.messages.extend(message_of(kind, body)),
        }
        let aligned = usize::try_from(message.length()).unwrap_or(usize::MAX).saturating_add(3) & !3;
        bytes = bytes.get(aligned..).unwrap_or_default();
    }
    datagram
}

fn message_of(kind: u16, body: &[u8]) -> Option<NetlinkMessage> {
    match kind {
        libc::RTM_NEWLINK => link(body).map(NetlinkMessage::Link),
        libc::RTM_DELLINK => link(body).map(|link| NetlinkMessage::LinkGone(link.index)),
        libc::RTM_NEWADDR => address(body).map(NetlinkMessage::Address),
        libc::RTM_DELADDR => address(body).map(NetlinkMessage::AddressGone),
        _ => None,
    }
}

fn link(body: &[u8]) -> Option<Link> {
    let (head, attributes) = body.split_first_chunk::<LINK_HEAD_BYTES>()?;
    // A bridge tells of its ports in messages of its own family: one that leaves a bridge is not gone.
    if i32::from(head[0]) != libc::AF_UNSPEC {
        return None;
    }
    let flags = u32::from_ne_bytes([head[8], head[9], head[10], head[11]]);
    let has = |flag: i32| flags & flag.cast_unsigned() != 0;
    let mut link = Link {
        index: u32::from_ne_bytes([head[4], head[5], head[6], head[7]]),
        name: None,
        mac: None,
        mtu: None,
        kind: None,
        loopback: has(libc::IFF_LOOPBACK),
        enabled: has(libc::IFF_UP),
        carrier: has(libc::IFF_UP) && has(libc::IFF_LOWER_UP),
        running: has(libc::IFF_RUNNING),
        dormant: has(libc::IFF_DORMANT),
    };
    let mut information = false;
    for (kind, value) in attributes_of(attributes) {
        match kind {
            libc::IFLA_IFNAME => link.name = Some(text(value)),
            libc::IFLA_ADDRESS => link.mac = Some(mac(value)),
            libc::IFLA_MTU => link.mtu = value.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes)),
            libc::IFLA_LINKINFO => {
                information = true;
                link.kind = attributes_of(value).find(|(kind, _)| *kind == INFO_KIND).map(|(_, kind)| text(kind));
            }
            _ => {}
        }
    }
    // Hardware has no information of a driver's kind; a message that has all the rest therefore says "none".
    if !information && link.mtu.is_some() {
        link.kind = Some(String::new());
    }
    Some(link)
}

fn address(body: &[u8]) -> Option<Address> {
    let (head, attributes) = body.split_first_chunk::<ADDRESS_HEAD_BYTES>()?;
    let mut flags = u32::from(head[2]);
    let (mut own, mut any) = (None, None);
    for (kind, value) in attributes_of(attributes) {
        match kind {
            libc::IFA_LOCAL => own = ip(value),
            // The address itself, except on a point-to-point link, where it is the peer's.
            libc::IFA_ADDRESS => any = ip(value),
            libc::IFA_FLAGS => flags = value.first_chunk().map_or(flags, |bytes| u32::from_ne_bytes(*bytes)),
            _ => {}
        }
    }
    Some(Address {
        index: u32::from_ne_bytes([head[4], head[5], head[6], head[7]]),
        ip: own.or(any)?,
        tentative: flags & libc::IFA_F_TENTATIVE != 0,
    })
}

fn attributes_of(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    NlasIterator::new(bytes).map_while(Result::ok).filter_map(|attribute| {
        let (kind, end) = (attribute.kind(), usize::from(attribute.length()));
        Some((kind, attribute.into_inner().get(NLA_HEADER_SIZE..end)?))
    })
}

fn ip(value: &[u8]) -> Option<IpAddr> {
    match value.len() {
        4 => value.first_chunk::<4>().map(|octets| IpAddr::from(*octets)),
        16 => value.first_chunk::<16>().map(|octets| IpAddr::from(*octets)),
        _ => None,
    }
}

fn mac(value: &[u8]) -> String {
    if value.iter().all(|byte| *byte == 0) {
        return String::new();
    }
    value.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
}

fn text(value: &[u8]) -> String {
    let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
    String::from_utf8_lossy(value.get(..end).unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// One attribute, padded.
    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(value.len() + 4).unwrap();
        let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn datagram(kind: u16, body: &[u8]) -> Vec<u8> {
        let mut bytes = u32::try_from(16 + body.len()).unwrap().to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend([0; 10]);
        bytes.extend(body);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn link_body(family: u8, flags: i32, attributes: &[Vec<u8>]) -> Vec<u8> {
        let mut body = vec![family, 0, 1, 0];
        body.extend(7_u32.to_ne_bytes());
        body.extend(flags.to_ne_bytes());
        body.extend([0; 4]);
        body.extend(attributes.concat());
        body
    }

    #[test]
    fn a_link_is_read_with_name_address_size_and_kind() {
        let kind = attribute(INFO_KIND, b"dummy\0");
        let attributes = [
            attribute(libc::IFLA_IFNAME, b"dum0\0"),
            attribute(libc::IFLA_MTU, &1500_u32.to_ne_bytes()),
            attribute(libc::IFLA_ADDRESS, &[0x52, 0x54, 0, 0x12, 0x34, 0x56]),
            attribute(libc::IFLA_LINKINFO, &kind),
            attribute(9999, b"from a newer kernel"),
        ];
        let flags = libc::IFF_UP | libc::IFF_LOWER_UP | libc::IFF_RUNNING;
        let read = parse(&datagram(libc::RTM_NEWLINK, &link_body(0, flags, &attributes)));
        let [NetlinkMessage::Link(link)] = read.messages.as_slice() else { panic!("{read:?}") };
        assert_eq!((link.index, link.name.as_deref(), link.mtu), (7, Some("dum0"), Some(1500)));
        assert_eq!((link.mac.as_deref(), link.kind.as_deref()), (Some("52:54:00:12:34:56"), Some("dummy")));
        assert!(link.enabled && link.carrier && link.running && !link.loopback && !link.dormant);
    }

    #[test]
    fn a_port_that_leaves_its_bridge_is_not_gone() {
        let bridge = u8::try_from(libc::AF_BRIDGE).unwrap();
        let body = link_body(bridge, 0, &[attribute(libc::IFLA_IFNAME, b"eth0\0")]);
        assert_eq!(parse(&datagram(libc::RTM_DELLINK, &body)).messages, []);
        assert_eq!(parse(&datagram(libc::RTM_DELLINK, &link_body(0, 0, &[]))).messages, [NetlinkMessage::LinkGone(7)]);
    }

    #[test]
    fn of_a_point_to_point_link_the_own_address_counts_and_not_the_peers() {
        let mut body = vec![2, 32, 0x80, 0, 3, 0, 0, 0];
        body.extend(attribute(libc::IFA_ADDRESS, &[10, 0, 0, 2]));
        body.extend(attribute(libc::IFA_LOCAL, &[10, 0, 0, 1]));
        let read = parse(&datagram(libc::RTM_NEWADDR, &body));
        let address = Address { index: 3, ip: "10.0.0.1".parse().unwrap(), tentative: false };
        assert_eq!(read.messages, [NetlinkMessage::Address(address)]);
    }

    #[test]
    fn an_address_is_tentative_by_its_long_flags_too() {
        let mut body = vec![10, 64, 0, 0, 3, 0, 0, 0];
        body.extend(attribute(libc::IFA_ADDRESS, &[0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]));
        body.extend(attribute(libc::IFA_FLAGS, &(libc::IFA_F_TENTATIVE | 0x800).to_ne_bytes()));
        let read = parse(&datagram(libc::RTM_NEWADDR, &body));
        assert!(
            matches!(read.messages.as_slice(), [NetlinkMessage::Address(Address { tentative: true, .. })]),
            "{read:?}"
        );
    }

    #[test]
    fn several_messages_in_one_datagram_are_all_read_and_the_end_is_seen() {
        let link = datagram(libc::RTM_NEWLINK, &link_body(0, 0, &[attribute(libc::IFLA_IFNAME, b"e\0")]));
        let read = parse(&[link.clone(), link, datagram(NLMSG_DONE, &[0; 4])].concat());
        assert_eq!((read.messages.len(), read.done, read.refused), (2, true, None));
        let refused = parse(&datagram(NLMSG_ERROR, &(-libc::EPERM).to_ne_bytes()));
        assert_eq!(refused.refused, Some(libc::EPERM));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
            parse(&bytes);
        }

        #[test]
        fn no_body_under_a_sound_head_makes_it_panic(
            kind in prop::sample::select(vec![16_u16, 17, 20, 21, 2, 3]),
            mut body in prop::collection::vec(any::<u8>(), 0..128),
            family in 0_u8..11,
        ) {
            if let Some(first) = body.first_mut() {
                *first = family;
            }
            parse(&datagram(kind, &body));
        }
    }
}
