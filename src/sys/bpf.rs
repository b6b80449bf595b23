//! The few instructions that a seccomp filter here is made of: seccomp(2), `linux/filter.h`.
//!
//! The number behind a value is how many lines further it goes on, if that is what was loaded.

use std::mem::offset_of;

use libc::{c_long, c_uint, c_ulong, seccomp_data, sock_filter, sock_fprog};

/// Bits of the values that a filter knows a system call table by: `__AUDIT_ARCH_*` in
/// `linux/audit.h`.
pub(super) const WIDE: u32 = 0x8000_0000;
pub(super) const LITTLE_ENDIAN: u32 = 0x4000_0000;

/// The table for this program.
pub(super) const NATIVE: u32 = WIDE
    | LITTLE_ENDIAN
    | if cfg!(target_arch = "x86_64") {
        libc::EM_X86_64 as u32
    } else {
        libc::EM_AARCH64 as u32
    };

/// Which table the call came by.
pub(super) const ARCH: usize = offset_of!(seccomp_data, arch);
/// The number of the call in that table.
pub(super) const NUMBER: usize = offset_of!(seccomp_data, nr);

/// The low half of an argument. The kernel looks at no more of those that are an `int` or a request;
/// the other one may hold anything (CVE-2019-10063).
pub(super) const fn argument(index: usize) -> usize {
    offset_of!(seccomp_data, args) + index * size_of::<u64>()
}

/// Loads the 32 bits at this place of `seccomp_data`.
pub(super) const fn load(place: usize) -> sock_filter {
    instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, place as u32, 0)
}

/// Clears all bits of what was loaded but these.
pub(super) const fn keep(bits: u32) -> sock_filter {
    instruction(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, bits, 0)
}

pub(super) const fn go_if(value: u32, further: u8) -> sock_filter {
    instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, value, further)
}

/// If it is that value or a larger one.
pub(super) const fn go_from(value: u32, further: u8) -> sock_filter {
    instruction(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K, value, further)
}

pub(super) const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;

pub(super) const fn end(answer: u32) -> sock_filter {
    instruction(libc::BPF_RET | libc::BPF_K, answer, 0)
}

const fn instruction(code: u32, k: u32, jt: u8) -> sock_filter {
    sock_filter {
        code: code as u16,
        jt,
        jf: 0,
        k,
    }
}

/// Installs a filter for this process and all that it becomes; what seccomp(2) returns.
///
/// The flag SECCOMP_FILTER_FLAG_SPEC_ALLOW keeps the kernel from switching speculation off for the
/// command, as Linux before 5.16 does: that would slow it down, and is no matter of ours.
pub(super) fn install(program: &mut [sock_filter], flags: c_ulong) -> c_long {
    let flags = (flags | libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW) as c_uint;
    let filter = sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    let (mode, filter) = (libc::SECCOMP_SET_MODE_FILTER, &raw const filter);
    // SAFETY: `filter` says where the instructions are and how many; they outlive the call, which
    // copies them.
    unsafe { libc::syscall(libc::SYS_seccomp, mode, flags, filter) }
}
