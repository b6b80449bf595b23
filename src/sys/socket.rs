//! Sockets of the abstract namespace: listening on one, and who listens on another.

use std::io;
use std::mem::{offset_of, size_of};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};

use libc::{c_char, c_int, sa_family_t, sockaddr_un, socklen_t, ucred};
use nix::errno::Errno;

use super::new_descriptor;

/// Listens on the abstract `address`: unix(7). Never accepts: that it listens is all that counts.
///
/// Close-on-exec from the start. `EADDRINUSE` if somebody in this network namespace has it.
pub fn listen(address: &str) -> Result<UnixListener, Errno> {
    SocketAddr::from_abstract_name(address)
        .and_then(|address| UnixListener::bind_addr(&address))
        .map_err(|error: io::Error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EINVAL)))
}

/// The user id of the process that listens on the abstract `address`, as it was at listen(2).
///
/// Never waits. `ECONNREFUSED` if nobody does, `EAGAIN` if too many wait there to be accepted.
pub fn listener_uid(address: &str) -> Result<u32, Errno> {
    let kind = libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: takes numbers only.
    let socket = new_descriptor(unsafe { libc::socket(libc::AF_UNIX, kind, 0) }.into())?;
    connect(&socket, address)?;
    let mut peer = ucred {
        pid: 0,
        uid: 0,
        gid: 0,
    };
    let buffer = (&raw mut peer).cast();
    let mut length = size_of::<ucred>() as socklen_t;
    let (number, option) = (socket.as_raw_fd(), libc::SO_PEERCRED);
    // SAFETY: `socket` is open; `buffer` points to `peer`, and `length` is its size; both outlive
    // the call.
    let status =
        unsafe { libc::getsockopt(number, libc::SOL_SOCKET, option, buffer, &raw mut length) };
    Errno::result(status)?;
    Ok(peer.uid)
}

fn connect(socket: &OwnedFd, address: &str) -> Result<(), Errno> {
    const PATH: usize = offset_of!(sockaddr_un, sun_path);
    let mut name = sockaddr_un {
        sun_family: libc::AF_UNIX as sa_family_t,
        sun_path: [0; 108],
    };
    // Abstract: the first byte stays NUL, and the length says where the name ends.
    let room = name.sun_path.get_mut(1..=address.len());
    let bytes = room.ok_or(Errno::ENAMETOOLONG)?.iter_mut();
    for (byte, of_address) in bytes.zip(address.bytes()) {
        *byte = of_address as c_char;
    }
    let length = (PATH + 1 + address.len()) as socklen_t;
    let pointer = (&raw const name).cast();
    // SAFETY: `socket` is open; `pointer` is to `name`, which outlives the call, and `length` is no
    // more than its size, since the address has found room in it.
    let status: c_int = unsafe { libc::connect(socket.as_raw_fd(), pointer, length) };
    Errno::result(status).map(drop)
}
