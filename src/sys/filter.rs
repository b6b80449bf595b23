//! The command's filter: it can neither type into the terminal that it shares with its caller, nor take
//! a descriptor from a process outside.
//!
//! TIOCSTI puts bytes where the caller's shell will read them once the command has ended, and so
//! does TIOCLINUX with a selection. pidfd_getfd(2) takes a directory of the host's, or the other side of the
//! terminal, from a process of the caller's; a socket is enough to name one outside (SO_PEERPIDFD). A
//! seccomp filter refuses all three, by each of the machine's system call tables, and nothing else. It is
//! inherited, and each selfdock within adds its own: of one that is there already nobody can say what it does.
//!
//! CAP_SYS_ADMIN stands in for no_new_privs, with which nothing nests.

use libc::{c_int, sock_filter};
use nix::errno::Errno;
use thiserror::Error;

use super::bpf::{
    self, ALLOW, ARCH, NUMBER, Tables, X32, argument, end, go_if, keep, load, refuse,
};
use super::privilege::Raised;

/// Why the command is not kept from what a filter is for.
#[derive(Debug, Error)]
pub enum FilterError {
    /// seccomp(2). `EINVAL` or `ENOSYS`: a kernel without filters.
    #[error("{}", .0.desc())]
    Kernel(Errno),
    /// It reported success, and nothing is refused: a filter of an outer program's.
    #[error("seccomp did not take effect")]
    Ineffective,
}

/// Forbids TIOCSTI, TIOCLINUX and pidfd_getfd(2) to this process and to all that it becomes: seccomp(2).
///
/// Source: `seccomp_set_mode_filter()` in Linux `kernel/seccomp.c`.
pub fn forbid_ways_out(_: &Raised<'_>) -> Result<(), FilterError> {
    let mut program = program(if cfg!(target_arch = "x86_64") {
        &X86_64
    } else {
        &AARCH64
    });
    let status = bpf::install(&mut program, 0);
    Errno::result(status).map_err(FilterError::Kernel)?;
    if is_refused(libc::TIOCSTI) && is_refused(libc::TIOCLINUX) && is_taking_refused() {
        Ok(())
    } else {
        Err(FilterError::Ineffective)
    }
}

/// No descriptor at all: without a filter, the kernel's word is EBADF.
const NOBODYS: c_int = -1;

/// Is the request refused, even for a descriptor that does not exist?
fn is_refused(request: libc::Ioctl) -> bool {
    // SAFETY: there is no such descriptor, so no driver ever sees the request or its null pointer.
    let status = unsafe { libc::ioctl(NOBODYS, request, std::ptr::null::<u8>()) };
    Errno::result(status) == Err(Errno::EPERM)
}

/// Is pidfd_getfd(2) refused, even for a process that does not exist?
fn is_taking_refused() -> bool {
    // SAFETY: takes numbers only; there is no such descriptor, so nothing is taken from anybody.
    let status = unsafe { libc::syscall(libc::SYS_pidfd_getfd, NOBODYS, NOBODYS, 0) };
    Errno::result(status) == Err(Errno::EPERM)
}

/// The number of pidfd_getfd(2), which is the same in every table: calls that are newer than Linux 5.0 are
/// numbered for all machines at once.
const PIDFD_GETFD: u32 = libc::SYS_pidfd_getfd as u32;

/// The numbers of ioctl(2) in a machine's system call tables.
struct Machine {
    tables: Tables,
    /// In the native one, under all its names.
    native: [u32; 2],
    narrow: u32,
}

/// Some kernels take each number of the x32 kind with and without its mark.
const X86_64: Machine = Machine {
    tables: bpf::X86_64,
    native: [16, 514],
    narrow: 54,
};

const AARCH64: Machine = Machine {
    tables: bpf::AARCH64,
    native: [29, 29],
    narrow: 54,
};

/// The filter. Up to the request it is of a form that the kernel can decide beforehand, by the
/// number of the call alone: `seccomp_is_const_allow()`, Linux 5.11. So it is run for the two calls only.
const fn program(machine: &Machine) -> [sock_filter; 19] {
    let [number, other_number] = machine.native;
    [
        load(ARCH),
        go_if(machine.tables.native, 2),
        go_if(machine.tables.narrow, 7),
        end(refuse(libc::ENOSYS)),
        // The machine's own table.
        load(NUMBER),
        keep(!X32),
        go_if(number, 7),
        go_if(other_number, 6),
        go_if(PIDFD_GETFD, 9),
        end(ALLOW),
        // That for 32-bit programs.
        load(NUMBER),
        go_if(machine.narrow, 2),
        go_if(PIDFD_GETFD, 5),
        end(ALLOW),
        // It is ioctl(2).
        load(argument(1)),
        go_if(libc::TIOCSTI as u32, 2),
        go_if(libc::TIOCLINUX as u32, 1),
        end(ALLOW),
        // It is one of these requests, or pidfd_getfd(2).
        end(refuse(libc::EPERM)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFUSE: u32 = 0x5_0001;
    const UNKNOWN: u32 = 0x5_0026;

    /// What the filter of this machine answers.
    fn answer(machine: &Machine, table: u32, number: u32, request: u64) -> u32 {
        bpf::answer(&program(machine), table, number, [0, request])
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

    /// With the mark of the x32 kind, too.
    fn is_taking(table: u32, number: u32) -> bool {
        number == 438 || table & 1 << 31 != 0 && number == 438 | X32
    }

    #[test]
    fn no_descriptor_is_taken_from_another_process_whatever_the_arguments() {
        for (machine, table, _) in tables() {
            for number in [438, 438 | X32] {
                for argument in [0, 40, 0x5412, 1 << 32, u64::MAX] {
                    let expected = if is_taking(table, number) {
                        REFUSE
                    } else {
                        ALLOW
                    };
                    let answer = answer(&machine, table, number, argument);
                    assert_eq!(answer, expected, "{table:#x} {number:#x}");
                }
            }
            assert_eq!(answer(&machine, table, 438, 0), REFUSE);
        }
        assert_eq!(answer(&X86_64, 0xc000_003e, 0x4000_01b6, 0), REFUSE);
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
                let is_ioctl = numbers.contains(&(number & !X32)) && table & 1 << 31 != 0
                    || numbers.contains(&number);
                let expected = if is_ioctl || is_taking(table, number) {
                    REFUSE
                } else {
                    ALLOW
                };
                // Of the other calls no argument is looked at, or the kernel could not decide beforehand.
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
