//! The filter that forbids new user namespaces, where the host lets only some programs make them.
//!
//! Ubuntu's kernels can restrict them to programs that an AppArmor profile names, by their path. In a
//! mount tree of the caller's making any program can be at that path; so inside, with a seccomp
//! filter, none makes one. Whichever of the machine's system call tables they come by: unshare(2) and
//! clone(2) fail with EPERM if they ask for one, and clone3(2), whose flags no filter can see, is not
//! there, so that programs use clone(2) instead. To join one with setns(2) gives nobody a new one.

use libc::sock_filter;
use nix::errno::Errno;

use super::bpf::{
    self, ALLOW, ARCH, NUMBER, Tables, X32, argument, end, go_if, go_if_any, keep, load, refuse,
};
use super::filter::FilterError;
use super::privilege::Raised;

/// Forbids new user namespaces to this process and to all that it becomes: seccomp(2).
pub fn forbid(_: &Raised<'_>) -> Result<(), FilterError> {
    let mut program = program(if cfg!(target_arch = "x86_64") {
        &X86_64
    } else {
        &AARCH64
    });
    let status = bpf::install(&mut program, 0);
    Errno::result(status).map_err(FilterError::Kernel)?;
    if is_forbidden() {
        Ok(())
    } else {
        Err(FilterError::Ineffective)
    }
}

/// Is a user namespace refused, even with a flag that unshare(2) does not have, and would refuse
/// otherwise: `check_unshare_flags()` in Linux `kernel/fork.c`?
pub(super) fn is_forbidden() -> bool {
    // SAFETY: takes flags only; and with these, nothing is done.
    let status = unsafe { libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_PTRACE) };
    Errno::result(status) == Err(Errno::EPERM)
}

/// The numbers in one system call table.
struct Calls {
    unshare: u32,
    clone: u32,
    clone3: u32,
}

struct Machine {
    tables: Tables,
    native: Calls,
    narrow: Calls,
}

const X86_64: Machine = Machine {
    tables: bpf::X86_64,
    native: Calls {
        unshare: 272,
        clone: 56,
        clone3: 435,
    },
    narrow: Calls {
        unshare: 310,
        clone: 120,
        clone3: 435,
    },
};

const AARCH64: Machine = Machine {
    tables: bpf::AARCH64,
    native: Calls {
        unshare: 97,
        clone: 220,
        clone3: 435,
    },
    narrow: Calls {
        unshare: 337,
        clone: 120,
        clone3: 435,
    },
};

const NEW_USER: u32 = libc::CLONE_NEWUSER as u32;

/// The filter. As with that for the terminal, the kernel can decide by the number alone that other
/// calls are allowed.
const fn program(machine: &Machine) -> [sock_filter; 20] {
    let Machine {
        tables,
        native,
        narrow,
    } = machine;
    [
        load(ARCH),
        go_if(tables.native, 2),
        go_if(tables.narrow, 7),
        end(refuse(libc::ENOSYS)),
        // The machine's own table.
        load(NUMBER),
        keep(!X32),
        go_if(native.unshare, 8),
        go_if(native.clone, 7),
        go_if(native.clone3, 10),
        end(ALLOW),
        // That for 32-bit programs.
        load(NUMBER),
        go_if(narrow.unshare, 3),
        go_if(narrow.clone, 2),
        go_if(narrow.clone3, 5),
        end(ALLOW),
        // It is unshare(flags), or clone(flags, ...).
        load(argument(0)),
        go_if_any(NEW_USER, 1),
        end(ALLOW),
        end(refuse(libc::EPERM)),
        // It is clone3(2).
        end(refuse(libc::ENOSYS)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFUSE: u32 = 0x5_0001;
    const UNKNOWN: u32 = 0x5_0026;

    /// What the filter of this machine answers.
    fn answer(machine: &Machine, table: u32, number: u32, flags: u64) -> u32 {
        bpf::answer(&program(machine), table, number, [flags, u64::MAX])
    }

    /// Each machine, and each of its tables: the numbers there that come with flags, and those of
    /// clone3.
    fn tables() -> [(Machine, u32, &'static [u32], &'static [u32]); 4] {
        [
            (
                X86_64,
                0xc000_003e,
                &[272, 56, 0x4000_0110, 0x4000_0038],
                &[435, 0x4000_01b3],
            ),
            (X86_64, 0x4000_0003, &[310, 120], &[435]),
            (AARCH64, 0xc000_00b7, &[97, 220], &[435]),
            (AARCH64, 0x4000_0028, &[337, 120], &[435]),
        ]
    }

    #[test]
    fn a_user_namespace_is_refused_whatever_else_is_asked_for() {
        for (machine, table, numbers, _) in tables() {
            for number in numbers {
                for others in [0, 0x11, 0x6c02_0000, 0xefff_ffff, 0xdead_0001_0000_0000] {
                    let answer = answer(&machine, table, *number, others | 0x1000_0000);
                    assert_eq!(answer, REFUSE, "{table:#x} {number} {others:#x}");
                }
            }
        }
    }

    #[test]
    fn everything_else_is_allowed() {
        for (machine, table, numbers, _) in tables() {
            for number in numbers {
                for flags in [0, 0x11, 0x6c02_0000, 0xefff_ffff, 0x1000_0000_0000_0000] {
                    let answer = answer(&machine, table, *number, flags);
                    assert_eq!(answer, libc::SECCOMP_RET_ALLOW, "{number} {flags:#x}");
                }
            }
        }
    }

    #[test]
    fn clone3_is_not_there_and_every_other_call_is() {
        for (machine, table, numbers, absent) in tables() {
            for number in (0..2048).flat_map(|number| [number, number | X32, number | 1 << 31]) {
                let is_marked = |known: &[u32]| {
                    let unmarked = number & !X32;
                    known.contains(&number) || table >> 31 == 1 && known.contains(&unmarked)
                };
                let expected = match (is_marked(numbers), is_marked(absent)) {
                    (true, _) => REFUSE,
                    (_, true) => UNKNOWN,
                    _ => libc::SECCOMP_RET_ALLOW,
                };
                let answer = answer(&machine, table, number, u64::MAX);
                assert_eq!(answer, expected, "{table:#x} {number:#x}");
            }
        }
    }

    #[test]
    fn a_table_that_is_not_known_has_no_calls() {
        for table in [0, 62, 0xc000_003f, 0x8000_003e] {
            assert_eq!(answer(&X86_64, table, 1, 0), UNKNOWN);
        }
        assert_eq!(answer(&X86_64, 0xc000_00b7, 97, 0), UNKNOWN);
        assert_eq!(answer(&AARCH64, 0xc000_003e, 272, 0), UNKNOWN);
    }
}
