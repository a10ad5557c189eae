//! What goes beside the bytes of a message: its address and control data (cmsg(3)), as the system reads and writes
//! them, and as the portable types have them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Address, Message};
use crate::udp::{Ecn, PacketInfo, RecvControl, SendControl};

/// Room for control data in bytes. What `UdpOptions` can switch on takes 112 of them at most, what `SendControl` can
/// ask for all: both versions of IP at once, and a segment size.
const ROOM: usize = 4 * space(4) + space(12) + space(20) + space(2);

/// The room for an address and control data of one message.
pub(crate) struct Head {
    address: Address,
    control: Control,
}

/// Control messages, one after the other.
#[repr(C, align(8))]
struct Control {
    bytes: [u8; ROOM],
    length: usize,
}

const _: () = assert!(align_of::<libc::cmsghdr>() <= 8);

/// What the system told of a received message, apart from its bytes.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Arrival {
    pub(crate) from: Option<SocketAddr>,
    pub(crate) truncated: bool,
    pub(crate) control: RecvControl,
}

impl Head {
    /// For a receive: room for all of it.
    pub(crate) fn room() -> Head {
        Head { address: Address::empty(), control: Control { bytes: [0; ROOM], length: ROOM } }
    }

    /// For a send; without an address to the connected one. `towards` is the destination as far as it is known. The
    /// control data is within its ranges, and doesn't name an interface towards nowhere.
    pub(crate) fn to(address: Option<SocketAddr>, towards: Option<IpAddr>, control: &SendControl) -> Head {
        let mut head = Head::room();
        head.address = address.map_or(Address { length: 0, ..Address::empty() }, Address::of);
        head.control.length = 0;
        head.control.fill(towards, control);
        head
    }

    /// Writes into a message header where address and control data are.
    pub(crate) fn complete(&mut self, message: &mut Message) {
        if self.address.length > 0 {
            message.0.msg_name = self.address.storage.as_mut_ptr().cast();
            message.0.msg_namelen = self.address.length as _;
        }
        if self.control.length > 0 {
            message.0.msg_control = self.control.bytes.as_mut_ptr().cast();
            message.0.msg_controllen = self.control.length as _;
        }
    }

    /// What a receive has written here and into the message header.
    pub(crate) fn arrival(&mut self, message: &Message) -> Arrival {
        self.address.length = message.0.msg_namelen as _;
        let written: usize = message.0.msg_controllen as _;
        let mut control = parse(&self.control.bytes[..written.min(ROOM)]);
        control.truncated = message.0.msg_flags & libc::MSG_CTRUNC != 0;
        let truncated = message.0.msg_flags & libc::MSG_TRUNC != 0;
        Arrival { from: self.address.get(), truncated, control }
    }
}

/// How many bytes a control message's header takes, and where its data begins.
const HEADER: usize = {
    // SAFETY: it only computes.
    (unsafe { libc::CMSG_LEN(0) }) as usize
};

/// Where a control message's header has its length (with the header), level and type.
const LENGTH: usize = std::mem::offset_of!(libc::cmsghdr, cmsg_len);
const LEVEL: usize = std::mem::offset_of!(libc::cmsghdr, cmsg_level);
const KIND: usize = std::mem::offset_of!(libc::cmsghdr, cmsg_type);

/// How far it is from one control message with this much data to the next.
const fn space(data: usize) -> usize {
    // SAFETY: it only computes.
    (unsafe { libc::CMSG_SPACE(data as u32) }) as usize
}

impl Control {
    /// Both versions of IP are asked where the destination doesn't tell which it is: each leaves alone what is the
    /// other's.
    fn fill(&mut self, to: Option<IpAddr>, control: &SendControl) {
        let version = to.or(control.source).map(|address| address.to_canonical().is_ipv4());
        let (v4, v6) = (version != Some(false), version != Some(true));
        if let Some(ecn) = control.ecn {
            let tos = i32::from(ecn.bits()).to_ne_bytes();
            self.push(v4, libc::IPPROTO_IP, libc::IP_TOS, &tos);
            self.push(v6, libc::IPPROTO_IPV6, libc::IPV6_TCLASS, &tos);
        }
        if let Some(ttl) = control.ttl {
            let hops = i32::from(ttl).to_ne_bytes();
            self.push(v4, libc::IPPROTO_IP, libc::IP_TTL, &hops);
            self.push(v6, libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT, &hops);
        }
        if control.source.is_some() || control.interface.is_some() {
            let interface = control.interface.unwrap_or(0).to_ne_bytes();
            let source = control.source.map(|source| source.to_canonical());
            let source_v4 =
                if let Some(IpAddr::V4(source)) = source { source } else { Ipv4Addr::UNSPECIFIED };
            let source_v6 =
                if let Some(IpAddr::V6(source)) = source { source } else { Ipv6Addr::UNSPECIFIED };
            // struct in_pktinfo: interface, source, and an address for receives; struct in6_pktinfo: source, interface.
            let mut info = [0; 12];
            info[..4].copy_from_slice(&interface);
            info[4..8].copy_from_slice(&source_v4.octets());
            self.push(v4, libc::IPPROTO_IP, libc::IP_PKTINFO, &info);
            let mut info = [0; 20];
            info[..16].copy_from_slice(&source_v6.octets());
            info[16..].copy_from_slice(&interface);
            self.push(v6, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info);
        }
        if let Some(size) = control.segment_size {
            self.push(true, libc::SOL_UDP, libc::UDP_SEGMENT, &size.to_ne_bytes());
        }
    }

    fn push(&mut self, wanted: bool, level: i32, kind: i32, data: &[u8]) {
        if !wanted {
            return;
        }
        let place = &mut self.bytes[self.length..self.length + space(data.len())];
        let length = HEADER + data.len();
        place[LENGTH..LENGTH + size_of::<usize>()].copy_from_slice(&length.to_ne_bytes());
        place[LEVEL..LEVEL + 4].copy_from_slice(&level.to_ne_bytes());
        place[KIND..KIND + 4].copy_from_slice(&kind.to_ne_bytes());
        place[HEADER..length].copy_from_slice(data);
        self.length += space(data.len());
    }
}

/// Reads what this crate has a name for, and passes over the rest.
fn parse(mut bytes: &[u8]) -> RecvControl {
    let mut control = RecvControl::default();
    while let Some(length) = number_at(bytes, LENGTH).map(usize::from_ne_bytes) {
        let (Some(level), Some(kind)) = (number_at(bytes, LEVEL), number_at(bytes, KIND)) else { break };
        let Some(data) = bytes.get(HEADER..length) else { break };
        read(&mut control, i32::from_ne_bytes(level), i32::from_ne_bytes(kind), data);
        let Some(rest) = bytes.get(space(data.len())..) else { break };
        bytes = rest;
    }
    control
}

/// The bytes of a number, if there are so many.
fn number_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

fn read(control: &mut RecvControl, level: i32, kind: i32, data: &[u8]) {
    let int = || number_at(data, 0).map(i32::from_ne_bytes);
    match (level, kind) {
        // One byte, while all others are ints.
        (libc::IPPROTO_IP, libc::IP_TOS) => control.ecn = data.first().map(|&tos| Ecn::of_tos(tos)),
        (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => control.ecn = int().map(|tos| Ecn::of_tos(tos as u8)),
        (libc::IPPROTO_IP, libc::IP_TTL) | (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT) => {
            control.ttl = int().and_then(|hops| u8::try_from(hops).ok());
        }
        (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
            let destination = number_at::<4>(data, 8).map(|octets| IpAddr::from(Ipv4Addr::from(octets)));
            let interface = number_at(data, 0).map(u32::from_ne_bytes);
            control.packet_info = destination.zip(interface).map(|(to, by)| PacketInfo::new(to, by));
        }
        (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
            let destination = number_at::<16>(data, 0).map(|octets| IpAddr::from(Ipv6Addr::from(octets)));
            let interface = number_at(data, 16).map(u32::from_ne_bytes);
            control.packet_info = destination.zip(interface).map(|(to, by)| PacketInfo::new(to, by));
        }
        (libc::SOL_UDP, libc::UDP_GRO) => {
            control.segment_size = int().and_then(|size| usize::try_from(size).ok()).filter(|&size| size > 0);
        }
        _ => {}
    }
}
