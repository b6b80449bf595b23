//! The terminal filter: a command cannot type into the terminal that it shares with its caller.
//!
//! TIOCSTI puts bytes where the caller's shell will read them once the command has ended, and so
//! does TIOCLINUX with a selection. A seccomp filter refuses both, whichever of the machine's system
//! call tables they come by, and leaves everything else alone. It is inherited, and each selfdock
//! within adds one of its own: of a filter that is there already nobody can say what it does.
//!
//! CAP_SYS_ADMIN stands in for no_new_privs, with which nothing nests.

use libc::{c_int, sock_filter};
use nix::errno::Errno;
use thiserror::Error;

use super::bpf::{
    self, ALLOW, ARCH, LITTLE_ENDIAN, NUMBER, WIDE, argument, end, go_if, keep, load,
};
use super::privilege::Raised;

/// Why the command is not kept from typing.
#[derive(Debug, Error)]
pub enum FilterError {
    /// seccomp(2). `EINVAL` or `ENOSYS`: a kernel without filters.
    #[error("{}", .0.desc())]
    Kernel(Errno),
    /// It reported success, and the requests are not refused: a filter of an outer program's.
    #[error("seccomp did not take effect")]
    Ineffective,
}

/// Forbids TIOCSTI and TIOCLINUX to this process and to all that it becomes: seccomp(2).
///
/// Source: `seccomp_set_mode_filter()` in Linux `kernel/seccomp.c`.
pub fn forbid_typing(_: &Raised<'_>) -> Result<(), FilterError> {
    let mut program = program(if cfg!(target_arch = "x86_64") {
        &X86_64
    } else {
        &AARCH64
    });
    let status = bpf::install(&mut program, 0);
    Errno::result(status).map_err(FilterError::Kernel)?;
    if is_refused(libc::TIOCSTI) && is_refused(libc::TIOCLINUX) {
        Ok(())
    } else {
        Err(FilterError::Ineffective)
    }
}

/// Is the request refused, even for a descriptor that does not exist?
fn is_refused(request: libc::Ioctl) -> bool {
    const NOBODYS: c_int = -1;
    // SAFETY: there is no such descriptor, so no driver ever sees the request or its null pointer.
    let status = unsafe { libc::ioctl(NOBODYS, request, std::ptr::null::<u8>()) };
    Errno::result(status) == Err(Errno::EPERM)
}

/// The numbers of ioctl(2) in a machine's system call tables, and how a filter knows the tables.
struct Machine {
    /// Of the table for the programs of this kind.
    native: u32,
    /// ioctl(2) in that table, under all its names.
    native_numbers: [u32; 2],
    /// Of the table for 32-bit programs.
    narrow: u32,
    /// ioctl(2) in that one.
    narrow_number: u32,
}

/// i386 programs, and those of the x32 kind, which come by the native table with another number and
/// `X32` in it; some kernels take each number with and without.
const X86_64: Machine = Machine {
    native: libc::EM_X86_64 as u32 | WIDE | LITTLE_ENDIAN,
    native_numbers: [16, 514],
    narrow: libc::EM_386 as u32 | LITTLE_ENDIAN,
    narrow_number: 54,
};

/// And ARM programs.
const AARCH64: Machine = Machine {
    native: libc::EM_AARCH64 as u32 | WIDE | LITTLE_ENDIAN,
    native_numbers: [29, 29],
    narrow: libc::EM_ARM as u32 | LITTLE_ENDIAN,
    narrow_number: 54,
};

/// `__X32_SYSCALL_BIT` in `asm/unistd.h`. No machine has so many calls that it could mean another.
const X32: u32 = 0x4000_0000;

/// The filter. Up to the request it is of a form that the kernel can decide beforehand, by the
/// number of the call alone: `seccomp_is_const_allow()`, Linux 5.11. So it is run for ioctl(2) only.
const fn program(machine: &Machine) -> [sock_filter; 17] {
    let [number, other_number] = machine.native_numbers;
    [
        load(ARCH),
        go_if(machine.native, 2),
        go_if(machine.narrow, 6),
        end(libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32),
        // The machine's own table.
        load(NUMBER),
        keep(!X32),
        go_if(number, 5),
        go_if(other_number, 4),
        end(ALLOW),
        // That for 32-bit programs.
        load(NUMBER),
        go_if(machine.narrow_number, 1),
        end(ALLOW),
        // It is ioctl(2).
        load(argument(1)),
        go_if(libc::TIOCSTI as u32, 2),
        go_if(libc::TIOCLINUX as u32, 1),
        end(ALLOW),
        end(libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
    const REFUSE: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
    const UNKNOWN: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;

    /// What the filter of this machine answers, by the rules of `linux/filter.h`.
    fn answer(machine: &Machine, table: u32, number: u32, request: u64) -> u32 {
        let program = program(machine);
        let (mut place, mut loaded) = (0, 0);
        loop {
            let sock_filter { code, jt, jf, k } = program[place];
            place += 1;
            match u32::from(code) {
                0x20 => {
                    loaded = match k {
                        0 => number,
                        4 => table,
                        24 => request as u32,
                        other => panic!("loads from {other}"),
                    }
                }
                0x54 => loaded &= k,
                0x15 => place += usize::from(if loaded == k { jt } else { jf }),
                0x06 => return k,
                other => panic!("instruction {other:#x}"),
            }
        }
    }

    /// Each machine, and each of its tables with the numbers of ioctl(2) there.
    fn tables() -> [(Machine, u32, &'static [u32]); 4] {
        [
            (X86_64, 0xc000_003e, &[16, 514, 0x4000_0010, 0x4000_0202]),
            (X86_64, 0x4000_0003, &[54]),
            (AARCH64, 0xc000_00b7, &[29]),
            (AARCH64, 0x4000_0028, &[54]),
        ]
    }

    #[test]
    fn both_requests_are_refused_whatever_their_upper_half() {
        for (machine, table, numbers) in tables() {
            for number in numbers {
                for request in [0x5412, 0x541c] {
                    for upper in [0, 1 << 32, 1 << 63, u64::MAX << 32] {
                        let answer = answer(&machine, table, *number, request | upper);
                        assert_eq!(
                            answer, REFUSE,
                            "{table:#x} {number} {request:#x} {upper:#x}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn every_other_request_and_every_other_call_is_allowed() {
        for (machine, table, numbers) in tables() {
            for number in numbers {
                for request in (0..0x2_0000).filter(|request| ![0x5412, 0x541c].contains(request)) {
                    assert_eq!(answer(&machine, table, *number, request), ALLOW);
                }
            }
            for number in (0..2048).flat_map(|number| [number, number | X32, number | 1 << 31]) {
                let expected = if numbers.contains(&(number & !X32)) && table & WIDE != 0
                    || numbers.contains(&number)
                {
                    REFUSE
                } else {
                    ALLOW
                };
                let answer = answer(&machine, table, number, 0x5412);
                assert_eq!(answer, expected, "{table:#x} {number:#x}");
            }
        }
    }

    #[test]
    fn a_table_that_is_not_known_has_no_calls() {
        for table in [0, 62, 0xc000_003f, 0x8000_003e] {
            assert_eq!(answer(&X86_64, table, 1, 0), UNKNOWN);
        }
        assert_eq!(answer(&X86_64, 0xc000_00b7, 29, 0), UNKNOWN);
        assert_eq!(answer(&AARCH64, 0xc000_003e, 16, 0), UNKNOWN);
    }
}
