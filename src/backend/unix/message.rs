//! What goes beside the bytes of a message: its address and control data (cmsg(3)), as the system reads and writes
//! them, and as the portable types have them.

use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Address, Message, system};
use crate::UnixAddress;
use crate::engine::op::Unit;
use crate::udp::{Ecn, PacketInfo, RecvControl, SendControl};

/// Room for control data in bytes. What `UdpOptions` can switch on takes 112 of them at most, what `SendControl` can
/// ask for all: both versions of IP at once, and a segment size.
const ROOM: usize = {
    let [a, b, c, d] = system::CONTROL_ROOM;
    space(a) + space(b) + space(c) + space(d) + space(4) + space(4) + space(20)
};

/// The room for an address and control data of one message.
pub(crate) struct Head {
    address: Address,
    control: Control,
}

/// Takes a control message: its level, its type and what it holds.
pub(in crate::backend) type Push<'a> = dyn FnMut(i32, i32, &[u8]) + 'a;

/// Control messages, one after the other.
#[repr(C, align(8))]
struct Control {
    bytes: [u8; ROOM],
    length: usize,
}

const _: () = assert!(align_of::<libc::cmsghdr>() <= 8);

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
        let length = match unit {
            Unit::Datagram => ROOM,
            // Where there is room the system would put descriptors that nobody has asked for.
            Unit::LocalDatagram | Unit::Bytes => 0,
            // For the beginning of when it came, but for no descriptors.
            Unit::Record => HEADER,
        };
        Head { address: Address::empty(), control: Control { bytes: [0; ROOM], length } }
    }

    /// For a send; without an address to the connected one. `towards` is the destination as far as it is known. The
    /// control data is within its ranges, and doesn't name an interface towards nowhere.
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
            message.0.msg_name = self.address.storage.as_mut_ptr().cast();
            message.0.msg_namelen = self.address.length as _;
        }
        if self.control.length > 0 {
            message.0.msg_control = self.control.bytes.as_mut_ptr().cast();
            message.0.msg_controllen = self.control.length as _;
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
        message.0.msg_namelen = self.address.length as _;
        message.0.msg_controllen = 0;
        message.0.msg_flags = if truncated { libc::MSG_TRUNC } else { 0 };
    }

    /// What a receive has written here and into the message header.
    pub(crate) fn arrival(&mut self, message: &Message) -> Arrival {
        self.address.length = message.0.msg_namelen as _;
        let written: usize = message.0.msg_controllen as _;
        let mut control = parse(&self.control.bytes[..written.min(self.control.length)]);
        control.truncated = self.control.length > 0 && message.0.msg_flags & libc::MSG_CTRUNC != 0;
        let truncated = message.0.msg_flags & libc::MSG_TRUNC != 0;
        Arrival { from: self.address.get(), local: self.address.get_local(), truncated, control }
    }
}

/// How many bytes a control message's header takes, and where its data begins.
const HEADER: usize = {
    // SAFETY: it only computes.
    (unsafe { libc::CMSG_LEN(0) }) as usize
};

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
            let tos = ecn.bits();
            self.push_if(v4, |push| system::push_tos(push, tos));
            self.push_if(v6, |push| {
                push(libc::IPPROTO_IPV6, libc::IPV6_TCLASS, &i32::from(tos).to_ne_bytes());
            });
        }
        if let Some(ttl) = control.ttl {
            self.push_if(v4, |push| system::push_ttl(push, ttl));
            self.push_if(v6, |push| {
                push(libc::IPPROTO_IPV6, system::HOP_LIMIT, &i32::from(ttl).to_ne_bytes());
            });
        }
        if control.source.is_some() || control.interface.is_some() {
            let interface = control.interface.unwrap_or(0);
            let source = control.source.map(|source| source.to_canonical());
            let source_v4 =
                if let Some(IpAddr::V4(source)) = source { source } else { Ipv4Addr::UNSPECIFIED };
            let source_v6 =
                if let Some(IpAddr::V6(source)) = source { source } else { Ipv6Addr::UNSPECIFIED };
            self.push_if(v4, |push| system::push_packet_info(push, source_v4, interface));
            // struct in6_pktinfo: source, interface.
            let mut info = [0; 20];
            info[..16].copy_from_slice(&source_v6.octets());
            info[16..].copy_from_slice(&interface.to_ne_bytes());
            self.push_if(v6, |push| push(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info));
        }
        if let Some(size) = control.segment_size {
            self.push_if(true, |push| system::push_segment_size(push, size));
        }
    }

    fn push_if(&mut self, wanted: bool, what: impl FnOnce(&mut Push<'_>)) {
        if wanted {
            what(&mut |level, kind, data| self.push(level, kind, data));
        }
    }

    fn push(&mut self, level: i32, kind: i32, data: &[u8]) {
        let place = &mut self.bytes[self.length..self.length + space(data.len())];
        let length = HEADER + data.len();
        // SAFETY: every field of cmsghdr is a number.
        let mut header: libc::cmsghdr = unsafe { MaybeUninit::zeroed().assume_init() };
        header.cmsg_len = length as _;
        header.cmsg_level = level;
        header.cmsg_type = kind;
        // SAFETY: there is room for a header; it may begin anywhere.
        unsafe { place.as_mut_ptr().cast::<libc::cmsghdr>().write_unaligned(header) };
        place[HEADER..length].copy_from_slice(data);
        self.length += space(data.len());
    }
}

/// Reads what this crate has a name for, and passes over the rest.
fn parse(mut bytes: &[u8]) -> RecvControl {
    let mut control = RecvControl::default();
    while bytes.len() >= HEADER {
        // SAFETY: there are bytes enough for a header, all of whose fields are numbers; `bytes` may begin anywhere.
        let header = unsafe { bytes.as_ptr().cast::<libc::cmsghdr>().read_unaligned() };
        let length: usize = header.cmsg_len as _;
        let Some(data) = bytes.get(HEADER..length) else { break };
        read(&mut control, header.cmsg_level, header.cmsg_type, data);
        let Some(rest) = bytes.get(space(data.len())..) else { break };
        bytes = rest;
    }
    control
}

/// The bytes of a number, if there are so many.
pub(in crate::backend) fn number_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

fn read(control: &mut RecvControl, level: i32, kind: i32, data: &[u8]) {
    let int = || number_at(data, 0).map(i32::from_ne_bytes);
    match (level, kind) {
        (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => control.ecn = int().map(|tos| Ecn::of_tos(tos as u8)),
        (libc::IPPROTO_IPV6, system::HOP_LIMIT) => {
            control.ttl = int().and_then(|hops| u8::try_from(hops).ok());
        }
        (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
            let destination = number_at::<16>(data, 0).map(|octets| IpAddr::from(Ipv6Addr::from(octets)));
            let interface = number_at(data, 16).map(u32::from_ne_bytes);
            control.packet_info = destination.zip(interface).map(|(to, by)| PacketInfo::new(to, by));
        }
        _ => system::read_control(control, level, kind, data),
    }
}

/// Whether the system takes these control messages, for a datagram to this address; `None`: the connected one, which is
/// taken for one of IPv4.
pub(crate) fn can_send(control: &SendControl, to: Option<IpAddr>) -> bool {
    let v4 = to.is_none_or(|to| to.to_canonical().is_ipv4());
    (system::CAN_SEGMENT || control.segment_size.is_none()) && (!v4 || system::can_send_v4(control))
}
