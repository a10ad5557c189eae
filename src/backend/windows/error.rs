//! The portable kinds of Windows's error numbers: one table for Win32's and Winsock's.

use windows_sys::Win32::Foundation as win32;
use windows_sys::Win32::Networking::WinSock as wsa;

use crate::ErrorKind;

/// Those that std's table doesn't tell apart, or takes for something else.
pub(crate) fn error_kind(os: i32) -> Option<ErrorKind> {
    of_winsock(os).or_else(|| of_win32(os as u32))
}

fn of_winsock(os: i32) -> Option<ErrorKind> {
    Some(match os {
        wsa::WSAEISCONN => ErrorKind::AlreadyConnected,
        wsa::WSAENOTCONN | wsa::WSAEDESTADDRREQ => ErrorKind::NotConnected,
        wsa::WSAEMSGSIZE => ErrorKind::MessageTooLong,
        wsa::WSAEMFILE | wsa::WSAETOOMANYREFS => ErrorKind::TooManyDescriptors,
        wsa::WSAENOBUFS => ErrorKind::OutOfMemory,
        wsa::WSAEBADF | wsa::WSAENOTSOCK => ErrorKind::BadDescriptor,
        wsa::WSAENETRESET => ErrorKind::ConnectionReset,
        wsa::WSAESHUTDOWN | wsa::WSAEDISCON => ErrorKind::BrokenPipe,
        wsa::WSAEHOSTDOWN | wsa::WSAEHOSTUNREACH => ErrorKind::HostUnreachable,
        wsa::WSAENETDOWN => ErrorKind::NetworkDown,
        wsa::WSAENETUNREACH => ErrorKind::NetworkUnreachable,
        wsa::WSAEAFNOSUPPORT
        | wsa::WSAEPROTONOSUPPORT
        | wsa::WSAEPROTOTYPE
        | wsa::WSAESOCKTNOSUPPORT
        | wsa::WSAEPFNOSUPPORT
        | wsa::WSAENOPROTOOPT
        | wsa::WSAEOPNOTSUPP => ErrorKind::Unsupported,
        wsa::WSAEFAULT => ErrorKind::InvalidInput,
        wsa::WSAEINTR => ErrorKind::Interrupted,
        _ => return None,
    })
}

fn of_win32(os: u32) -> Option<ErrorKind> {
    Some(match os {
        win32::ERROR_NETNAME_DELETED => ErrorKind::ConnectionReset,
        win32::ERROR_CONNECTION_REFUSED | win32::ERROR_PORT_UNREACHABLE => ErrorKind::ConnectionRefused,
        win32::ERROR_CONNECTION_ABORTED => ErrorKind::ConnectionAborted,
        win32::ERROR_HOST_UNREACHABLE => ErrorKind::HostUnreachable,
        win32::ERROR_NETWORK_UNREACHABLE => ErrorKind::NetworkUnreachable,
        win32::ERROR_NO_DATA | win32::ERROR_PIPE_NOT_CONNECTED => ErrorKind::BrokenPipe,
        win32::ERROR_MORE_DATA => ErrorKind::MessageTooLong,
        win32::ERROR_TOO_MANY_OPEN_FILES => ErrorKind::TooManyDescriptors,
        win32::ERROR_NO_SYSTEM_RESOURCES
        | win32::ERROR_WORKING_SET_QUOTA
        | win32::ERROR_NONPAGED_SYSTEM_RESOURCES
        | win32::ERROR_NOT_ENOUGH_QUOTA
        | win32::ERROR_COMMITMENT_LIMIT => ErrorKind::OutOfMemory,
        win32::ERROR_INVALID_HANDLE => ErrorKind::BadDescriptor,
        win32::ERROR_NOT_SUPPORTED | win32::ERROR_INVALID_FUNCTION | win32::ERROR_CALL_NOT_IMPLEMENTED => {
            ErrorKind::Unsupported
        }
        // Somebody has it open, or a part of it locked, and lets nobody else. Not `WouldBlock`: nothing tells when that is over.
        win32::ERROR_SHARING_VIOLATION | win32::ERROR_LOCK_VIOLATION => ErrorKind::Busy,
        win32::ERROR_CANT_RESOLVE_FILENAME | win32::ERROR_STOPPED_ON_SYMLINK => ErrorKind::FilesystemLoop,
        win32::ERROR_IO_DEVICE | win32::ERROR_CRC | win32::ERROR_GEN_FAILURE => ErrorKind::DeviceError,
        win32::ERROR_DELETE_PENDING => ErrorKind::PermissionDenied,
        win32::ERROR_NOT_A_REPARSE_POINT | win32::ERROR_NEGATIVE_SEEK => ErrorKind::InvalidInput,
        // std takes it for a time limit; who wants to know that asks `is_cancelled`.
        win32::ERROR_OPERATION_ABORTED => ErrorKind::Other,
        _ => return None,
    })
}

/// What the system answers to a receive that finds no buffer in its pool; no receive has one here.
pub(crate) fn is_out_of_buffers(_: i32) -> bool {
    false
}

/// What the system answers to an operation that was cancelled.
pub(crate) fn is_cancelled(os: i32) -> bool {
    os as u32 == win32::ERROR_OPERATION_ABORTED
}

#[cfg(test)]
mod tests {
    use crate::Error;
    use crate::op::Kind;

    /// The same event has the same portable kind as on other systems (the page of guarantees, "The same on every
    /// backend"), whether Winsock tells it or the I/O manager: as the table in PLATFORMS.md says.
    #[test]
    fn numbers_have_the_kinds_that_the_table_says() {
        let page = include_str!("../../../PLATFORMS.md");
        let table = page.split_once("| `ErrorKind` | numbers |").expect("there is a table").1;
        let mut told = 0;
        for row in table.lines().skip(2).take_while(|line| line.starts_with('|')) {
            let [_, kind, numbers, _] = row.split('|').collect::<Vec<_>>().try_into().expect("two columns");
            for entry in numbers.split(';') {
                let number: i32 = entry
                    .split([' ', ','])
                    .find_map(|word| word.parse().ok())
                    .unwrap_or_else(|| panic!("no number in {entry}"));
                let found = Error::from_os(number, Kind::Recv).kind();
                assert_eq!(format!("`{found:?}`"), kind.trim(), "{entry}");
                told += 1;
            }
        }
        assert!(told > 60, "{told}");
    }
}
