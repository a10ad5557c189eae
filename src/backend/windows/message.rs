//! What goes beside the bytes of a message: its address and control data (`WSACMSGHDR`), as the system reads and writes them,
//! and as the portable types have them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use windows_sys::Win32::Networking::WinSock::{
    CMSGHDR, IP_ECN, IP_HOPLIMIT, IP_PKTINFO, IPPROTO_IP, IPPROTO_IPV6, IPV6_ECN, IPV6_HOPLIMIT,
    IPV6_PKTINFO, MSG_CTRUNC, MSG_TRUNC,
};

use super::{Address, Message};
use crate::UnixAddress;
use crate::engine::op::Unit;
use crate::udp::{Ecn, PacketInfo, RecvControl, SendControl};

/// How many bytes a control message's header takes, and where its data begins.
const HEADER: usize = size_of::<CMSGHDR>();

const _: () = assert!(HEADER.is_multiple_of(8) && align_of::<CMSGHDR>() <= 8);

/// How far it is from one control message with this much data to the next.
const fn space(data: usize) -> usize {
    HEADER + data.next_multiple_of(8)
}

/// Room for control data in bytes: packet info, hop limit and ECN of both versions of IP.
const ROOM: usize = space(8) + space(20) + 4 * space(4);

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

/// What the system told of a received message, apart from its bytes.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    pub(crate) from: Option<SocketAddr>,
    pub(crate) local: Option<UnixAddress>,
    pub(crate) truncated: bool,
    pub(crate) control: RecvControl,
}

impl Head {
    /// For a receive: room for all of it.
    pub(crate) fn room(unit: Unit) -> Head {
        let length = if unit == Unit::Datagram { ROOM } else { 0 };
        Head { address: Address::empty(), control: Control { bytes: [0; ROOM], length } }
    }

    /// For a send; without an address to the connected one. `towards` is the destination as far as it is known.
    pub(crate) fn to(address: Option<Address>, towards: Option<IpAddr>, control: &SendControl) -> Head {
        let mut head = Head::room(Unit::Datagram);
        head.address = address.unwrap_or(Address::none());
        head.control.length = 0;
        head.control.fill(towards, control);
        head
    }

    /// Whether it says where to.
    pub(crate) fn is_addressed(&self) -> bool {
        self.address.length > 0
    }

    /// Writes into a message header where address and control data are.
    pub(crate) fn complete(&mut self, message: &mut Message) {
        if self.address.length > 0 {
            message.name = self.address.storage.as_mut_ptr().cast();
            message.name_length = self.address.length;
        }
        if self.control.length > 0 {
            message.control = self.control.bytes.as_mut_ptr();
            message.control_length = self.control.length as u32;
        }
    }

    /// Where it goes, if it says so, and to a network's address.
    pub(crate) fn destination(&self) -> Option<SocketAddr> {
        self.address.get().filter(|_| self.is_addressed())
    }

    /// Whether there is control data to be sent.
    pub(crate) fn has_control(&self) -> bool {
        self.control.length > 0
    }

    /// Writes what a receive got, as the system would: no control data.
    pub(crate) fn answer(&mut self, message: &mut Message, from: SocketAddr, truncated: bool) {
        self.address = Address::of(from);
        message.name_length = self.address.length;
        message.control_length = 0;
        message.flags = 0;
        message.truncated = truncated;
    }

    /// What a receive has written here and into the message header.
    pub(crate) fn arrival(&mut self, message: &Message) -> Arrival {
        self.address.length = message.name_length;
        let written = message.control_length as usize;
        let mut control = parse(&self.control.bytes[..written.min(self.control.length)]);
        control.truncated = self.control.length > 0 && message.flags & MSG_CTRUNC != 0;
        let truncated = message.truncated || message.flags & MSG_TRUNC != 0;
        Arrival { from: self.address.get(), local: None, truncated, control }
    }
}

impl Control {
    /// One version of IP only: the system refuses control data of the other. A destination that isn't known is taken for
    /// one of IPv4, unless the source says more.
    fn fill(&mut self, to: Option<IpAddr>, control: &SendControl) {
        let version = to.or(control.source).map(|address| address.to_canonical().is_ipv4());
        let v4 = version != Some(false);
        let level = if v4 { IPPROTO_IP } else { IPPROTO_IPV6 };
        if let Some(ecn) = control.ecn {
            let name = if v4 { IP_ECN } else { IPV6_ECN };
            self.push(level, name, &i32::from(ecn.bits()).to_ne_bytes());
        }
        if let Some(ttl) = control.ttl {
            let name = if v4 { IP_HOPLIMIT } else { IPV6_HOPLIMIT };
            self.push(level, name, &i32::from(ttl).to_ne_bytes());
        }
        if control.source.is_some() || control.interface.is_some() {
            let interface = control.interface.unwrap_or(0).to_ne_bytes();
            let source = control.source.map(|source| source.to_canonical());
            if v4 {
                // IN_PKTINFO: source, interface.
                let mut info = [0; 8];
                let source =
                    if let Some(IpAddr::V4(source)) = source { source } else { Ipv4Addr::UNSPECIFIED };
                info[..4].copy_from_slice(&source.octets());
                info[4..].copy_from_slice(&interface);
                self.push(level, IP_PKTINFO, &info);
            } else {
                // IN6_PKTINFO: the same.
                let mut info = [0; 20];
                let source =
                    if let Some(IpAddr::V6(source)) = source { source } else { Ipv6Addr::UNSPECIFIED };
                info[..16].copy_from_slice(&source.octets());
                info[16..].copy_from_slice(&interface);
                self.push(level, IPV6_PKTINFO, &info);
            }
        }
    }

    fn push(&mut self, level: i32, kind: i32, data: &[u8]) {
        let place = &mut self.bytes[self.length..self.length + space(data.len())];
        let length = HEADER + data.len();
        let header = CMSGHDR { cmsg_len: length, cmsg_level: level, cmsg_type: kind };
        // SAFETY: there is room for a header; it may begin anywhere.
        unsafe { place.as_mut_ptr().cast::<CMSGHDR>().write_unaligned(header) };
        place[HEADER..length].copy_from_slice(data);
        self.length += space(data.len());
    }
}

/// Reads what this crate has a name for, and passes over the rest.
fn parse(mut bytes: &[u8]) -> RecvControl {
    let mut control = RecvControl::default();
    while bytes.len() >= HEADER {
        // SAFETY: there are bytes enough for a header, all of whose fields are numbers; `bytes` may begin anywhere.
        let header = unsafe { bytes.as_ptr().cast::<CMSGHDR>().read_unaligned() };
        let Some(data) = bytes.get(HEADER..header.cmsg_len) else { break };
        read(&mut control, header.cmsg_level, header.cmsg_type, data);
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
        (IPPROTO_IP, IP_ECN) | (IPPROTO_IPV6, IPV6_ECN) => {
            control.ecn = int().map(|bits| Ecn::of_tos(bits as u8));
        }
        (IPPROTO_IP, IP_HOPLIMIT) | (IPPROTO_IPV6, IPV6_HOPLIMIT) => {
            control.ttl = int().and_then(|hops| u8::try_from(hops).ok());
        }
        (IPPROTO_IP, IP_PKTINFO) => {
            let destination = number_at::<4>(data, 0).map(|octets| IpAddr::from(Ipv4Addr::from(octets)));
            let interface = number_at(data, 4).map(u32::from_ne_bytes);
            control.packet_info = destination.zip(interface).map(|(to, by)| PacketInfo::new(to, by));
        }
        (IPPROTO_IPV6, IPV6_PKTINFO) => {
            let destination = number_at::<16>(data, 0).map(|octets| IpAddr::from(Ipv6Addr::from(octets)));
            let interface = number_at(data, 16).map(u32::from_ne_bytes);
            control.packet_info = destination.zip(interface).map(|(to, by)| PacketInfo::new(to, by));
        }
        _ => {}
    }
}

/// Whether the system takes these control messages: it doesn't cut a datagram into segments for us (that is an option of the
/// socket there).
pub(crate) fn can_send(control: &SendControl, _: Option<IpAddr>) -> bool {
    control.segment_size.is_none()
}
