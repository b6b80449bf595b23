//! The few instructions that a seccomp filter here is made of: seccomp(2), `linux/filter.h`.
//!
//! The number behind a value is how many lines further it goes on, if that is what was loaded.

use std::mem::offset_of;

use libc::{c_int, c_long, c_uint, c_ulong, seccomp_data, sock_filter, sock_fprog};

/// Bits of the values that a filter knows a system call table by: `__AUDIT_ARCH_*` in
/// `linux/audit.h`.
const WIDE: u32 = 0x8000_0000;
const LITTLE_ENDIAN: u32 = 0x4000_0000;

/// How a filter knows the system call tables of a machine.
pub(super) struct Tables {
    /// The table for programs of the machine's own kind.
    pub native: u32,
    /// The one for 32-bit programs.
    pub narrow: u32,
}

/// i386 programs, and those of the x32 kind, which come by the native table with `X32` in the number.
pub(super) const X86_64: Tables = Tables {
    native: libc::EM_X86_64 as u32 | WIDE | LITTLE_ENDIAN,
    narrow: libc::EM_386 as u32 | LITTLE_ENDIAN,
};

/// And ARM programs.
pub(super) const AARCH64: Tables = Tables {
    native: libc::EM_AARCH64 as u32 | WIDE | LITTLE_ENDIAN,
    narrow: libc::EM_ARM as u32 | LITTLE_ENDIAN,
};

/// The tables of the machine that this program is for.
pub(super) const HERE: Tables = if cfg!(target_arch = "x86_64") {
    X86_64
} else {
    AARCH64
};

/// `__X32_SYSCALL_BIT` in `asm/unistd.h`. No machine has so many calls that it could mean another.
pub(super) const X32: u32 = 0x4000_0000;

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

/// Changes nothing. But a filter that begins so is not gone through for each call that there is when it
/// is installed, to remember which are always allowed (`seccomp_cache_prepare()`, Linux 5.11): that takes
/// longer than the few calls of a process that waits.
pub(super) const UNCACHED: sock_filter = instruction(libc::BPF_MISC | libc::BPF_TAX, 0, 0);

/// Clears all bits of what was loaded but these.
pub(super) const fn keep(bits: u32) -> sock_filter {
    instruction(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, bits, 0)
}

pub(super) const fn go_if(value: u32, further: u8) -> sock_filter {
    instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, value, further)
}

/// The same if any of these bits was loaded.
pub(super) const fn go_if_any(bits: u32, further: u8) -> sock_filter {
    instruction(libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K, bits, further)
}

/// If it is that value or a larger one.
pub(super) const fn go_from(value: u32, further: u8) -> sock_filter {
    instruction(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K, value, further)
}

pub(super) const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;

/// The call does nothing, and fails with this error.
pub(super) const fn refuse(errno: c_int) -> u32 {
    libc::SECCOMP_RET_ERRNO | errno as u32
}

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

/// What a filter answers, by the rules of `linux/filter.h`.
#[cfg(test)]
pub(super) fn answer(program: &[sock_filter], table: u32, number: u32, arguments: [u64; 2]) -> u32 {
    let (mut place, mut loaded) = (0, 0);
    loop {
        let sock_filter { code, jt, jf, k } = program[place];
        place += 1;
        let jump = |is_so| usize::from(if is_so { jt } else { jf });
        match u32::from(code) {
            0x20 => {
                loaded = match k {
                    0 => number,
                    4 => table,
                    16 => arguments[0] as u32,
                    24 => arguments[1] as u32,
                    other => panic!("loads from {other}"),
                }
            }
            0x07 => {} // to another place, of which nothing is read
            0x54 => loaded &= k,
            0x15 => place += jump(loaded == k),
            0x35 => place += jump(loaded >= k),
            0x45 => place += jump(loaded & k != 0),
            0x06 => return k,
            other => panic!("instruction {other:#x}"),
        }
    }
}
