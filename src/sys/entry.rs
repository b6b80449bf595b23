//! Where the program begins: before libc, and then at the C `main`.
//!
//! libc's start-up opens `/dev/null` or `/dev/full` by path for a closed descriptor 0 to 2, musl's also
//! for a mere place (`O_PATH`), with whatever rights the process has then: in a root that the caller
//! shaped, that is root for anybody. So the ELF entry point (`-Wl,-e`, see build.rs) is our own. It
//! gives up the user id and plugs those descriptors, without a path, and only then jumps to libc's
//! `_start`.
//!
//! The plugs are close-on-exec: the command sees those descriptors closed, as its caller wanted.

use std::ffi::{CStr, c_char, c_int};

use crate::exit::CANNOT;

/// Frames the instructions of one architecture as the symbol that the linker makes the entry point.
macro_rules! entry_point {
    ($($instruction:literal,)*) => {
        core::arch::global_asm!(
            ".pushsection .text.selfdock_entry,\"ax\",@progbits",
            ".globl selfdock_entry",
            ".type selfdock_entry,@function",
            "selfdock_entry:",
            $($instruction,)*
            ".size selfdock_entry, . - selfdock_entry",
            ".popsection",
            prctl = const libc::SYS_prctl,
            keepcaps = const libc::PR_SET_KEEPCAPS,
            getuid = const libc::SYS_getuid,
            setresuid = const libc::SYS_setresuid,
            getpid = const libc::SYS_getpid,
            pdeathsig = const libc::PR_SET_PDEATHSIG,
            sigkill = const libc::SIGKILL,
            fcntl = const libc::SYS_fcntl,
            getfl = const libc::F_GETFL,
            ebadf = const libc::EBADF,
            path = const libc::O_PATH,
            close = const libc::SYS_close,
            epoll_create1 = const libc::SYS_epoll_create1,
            cloexec = const libc::EPOLL_CLOEXEC,
            exit_group = const libc::SYS_exit_group,
            cannot = const CANNOT,
        );
    };
}

// prctl(PR_SET_KEEPCAPS, 1): or the next call would empty the permitted set as well.
// setresuid(r, r, r) to the real uid: empties the effective set, unless that is root.
// getpid() is 1, as in a nested instance: prctl(PR_SET_PDEATHSIG, SIGKILL), which exec of a
// set-user-id program has undone, so that the instance goes on to die with its supervisor. `main`
// takes it back where it is pid 1 of something else.
// Then for 0 to 2: where fcntl(F_GETFL) says EBADF, or O_PATH, there is nothing, or a mere place, which
// would not pass anyway. It is closed, and epoll_create1 must return that very number.
// Whatever fails: exit_group(124). Nothing can be said, standard error may not exist.
#[cfg(target_arch = "x86_64")]
entry_point! {
    "mov r12, rdx", // the System V ABI passes a function for atexit in rdx
    "mov eax, {prctl}",
    "mov edi, {keepcaps}",
    "mov esi, 1",
    "xor edx, edx",
    "xor r10d, r10d",
    "xor r8d, r8d",
    "syscall",
    "test rax, rax",
    "jnz 4f",
    "mov eax, {getuid}",
    "syscall",
    "mov edi, eax",
    "mov esi, eax",
    "mov edx, eax",
    "mov eax, {setresuid}",
    "syscall",
    "test rax, rax",
    "jnz 4f",
    "mov eax, {getpid}",
    "syscall",
    "cmp eax, 1",
    "jne 5f",
    "mov eax, {prctl}",
    "mov edi, {pdeathsig}",
    "mov esi, {sigkill}",
    "syscall",
    "test rax, rax",
    "jnz 4f",
    "5:",
    "xor ebx, ebx",
    "2:",
    "mov eax, {fcntl}",
    "mov edi, ebx",
    "mov esi, {getfl}",
    "syscall",
    "cmp rax, -{ebadf}",
    "je 6f",
    "test rax, rax",
    "js 3f",
    "test eax, {path}",
    "jz 3f",
    "6:",
    "mov eax, {close}",
    "mov edi, ebx",
    "syscall",
    "mov eax, {epoll_create1}",
    "mov edi, {cloexec}",
    "syscall",
    "cmp rax, rbx",
    "jne 4f",
    "3:",
    "inc ebx",
    "cmp ebx, 3",
    "jb 2b",
    "mov rdx, r12",
    "jmp _start",
    "4:",
    "mov eax, {exit_group}",
    "mov edi, {cannot}",
    "syscall",
    "ud2",
}

#[cfg(target_arch = "aarch64")]
entry_point! {
    "mov x19, x0", // the procedure call standard passes a function for atexit in x0
    "mov x8, {prctl}",
    "mov x0, {keepcaps}",
    "mov x1, 1",
    "mov x2, 0",
    "mov x3, 0",
    "mov x4, 0",
    "svc 0",
    "cbnz x0, 4f",
    "mov x8, {getuid}",
    "svc 0",
    "mov x1, x0",
    "mov x2, x0",
    "mov x8, {setresuid}",
    "svc 0",
    "cbnz x0, 4f",
    "mov x8, {getpid}",
    "svc 0",
    "cmp x0, 1",
    "b.ne 5f",
    "mov x8, {prctl}",
    "mov x0, {pdeathsig}",
    "mov x1, {sigkill}",
    "svc 0",
    "cbnz x0, 4f",
    "5:",
    "mov x20, 0",
    "2:",
    "mov x0, x20",
    "mov x1, {getfl}",
    "mov x8, {fcntl}",
    "svc 0",
    "cmn x0, {ebadf}",
    "b.eq 6f",
    "tbnz x0, 63, 3f",
    "tst x0, {path}",
    "b.eq 3f",
    "6:",
    "mov x0, x20",
    "mov x8, {close}",
    "svc 0",
    "mov x0, {cloexec}",
    "mov x8, {epoll_create1}",
    "svc 0",
    "cmp x0, x20",
    "b.ne 4f",
    "3:",
    "add x20, x20, 1",
    "cmp x20, 3",
    "b.lo 2b",
    "mov x0, x19",
    "b _start",
    "4:",
    "mov x8, {exit_group}",
    "mov x0, {cannot}",
    "svc 0",
    "brk 1",
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("selfdock has no entry point for this architecture, and must not start without one");

/// Defines the C `main` of the program.
///
/// A C `main` and not Rust's: the runtime of `std` opens `/dev/null` by path and leaves SIGPIPE
/// ignored, and its `args` are empty under musl in a static program with an entry of its own.
#[macro_export]
macro_rules! c_main {
    () => {
        #[unsafe(no_mangle)]
        extern "C" fn main(
            argc: ::core::ffi::c_int,
            argv: *const *const ::core::ffi::c_char,
        ) -> ::core::ffi::c_int {
            // SAFETY: libc calls `main` once, with the vectors that the kernel laid out.
            let start = unsafe { $crate::sys::entry::Start::read(argc, argv) };
            // Not by way of libc, which has nothing of ours to do at the end.
            $crate::sys::process::exit($crate::run(&start))
        }
    };
}

/// What the kernel handed over at exec: the words and the environment, byte for byte.
#[derive(Debug)]
pub struct Start {
    /// Every word of the command line, the program's own name first; may be empty.
    pub args: Vec<&'static CStr>,
    /// Every string of the environment, in order, duplicates and oddities included.
    pub environment: Vec<&'static CStr>,
}

impl Start {
    /// Reads the words from `argv`, and the environment from the memory behind the last of them.
    ///
    /// Not from `environ`: of a setuid program's, glibc takes out `TMPDIR`, `LD_LIBRARY_PATH` and
    /// others before `main`, but it only moves pointers. The strings stay where the kernel put
    /// them, between the last word and the string that `AT_EXECFN` points to.
    /// Source: `create_elf_tables()` and `bprm_execve()` in Linux `fs/`.
    ///
    /// # Safety
    ///
    /// `argc` and `argv` are those that libc passed to `main`, unchanged.
    pub unsafe fn read(argc: c_int, argv: *const *const c_char) -> Self {
        let mut args = Vec::new();
        for index in 0..usize::try_from(argc).unwrap_or(0) {
            // SAFETY: `index` is below `argc`, so it is within the vector of `argc` pointers.
            let word = unsafe { argv.add(index) };
            // SAFETY: as above; the kernel has written a pointer there.
            let word = unsafe { word.read() };
            // SAFETY: each of the `argc` pointers leads to a NUL-terminated string on the stack,
            // which lives as long as the process and is never written to.
            args.push(unsafe { CStr::from_ptr(word) });
        }
        // SAFETY: getauxval only reads the vector that libc has saved.
        let end = unsafe { libc::getauxval(libc::AT_EXECFN) } as usize;
        let environment = match args.last() {
            Some(last) => {
                let begin = last.to_bytes_with_nul().as_ptr_range().end.addr();
                // SAFETY: behind the pointers to the words and a null lie those to the variables.
                let starts = unsafe { argv.add(args.len() + 1) };
                // SAFETY: they end with a null; from the end of the last word to AT_EXECFN's string
                // lies the environment, which nobody else uses yet.
                unsafe { join_tunables(begin, end, starts) };
                // SAFETY: as above.
                unsafe { strings_between(begin, end) }
            }
            None => Vec::new(),
        };
        Self { args, environment }
    }
}

/// Takes back what glibc does to the value of GLIBC_TUNABLES before `main`: unless the program is
/// set-user-id, NULs are put in place of colons. A string that none of `starts` points to goes on
/// with that value. Source: `parse_tunables()` in glibc 2.26 to 2.38.
///
/// # Safety
///
/// As for `strings_between`, and nobody else uses the range; `starts` is an array that ends with null.
unsafe fn join_tunables(begin: usize, end: usize, starts: *const *const c_char) {
    // SAFETY: getauxval only reads the vector that libc has saved.
    let is_set_user_id = unsafe { libc::getauxval(libc::AT_SECURE) } != 0;
    if is_set_user_id {
        return; // And some of the pointers are gone.
    }
    let is_start = |address: usize| {
        let mut start = starts;
        loop {
            // SAFETY: `start` is within the array, whose end has not been met with.
            let pointer = unsafe { start.read() };
            if pointer.is_null() || pointer.addr() == address {
                break !pointer.is_null();
            }
            // SAFETY: that was not the null at the end.
            start = unsafe { start.add(1) };
        }
    };
    let mut is_value = false;
    // SAFETY: as the caller of this says.
    for string in unsafe { strings_between(begin, end) } {
        let address = string.as_ptr().addr();
        if string.to_bytes().starts_with(b"GLIBC_TUNABLES=") {
            is_value = true;
        } else if is_value && !is_start(address) {
            let nul = std::ptr::with_exposed_provenance_mut::<u8>(address - 1);
            // SAFETY: it is the NUL of the string before, which is within the range.
            unsafe { nul.write(b':') };
        } else {
            is_value = false;
        }
    }
}

/// The NUL-terminated strings that lie end to end from the address `begin` up to `end`.
///
/// # Safety
///
/// The whole range is readable for as long as the process lives, and its last byte is NUL.
unsafe fn strings_between(begin: usize, end: usize) -> Vec<&'static CStr> {
    let mut strings = Vec::new();
    let mut next = begin;
    while next < end {
        let string = std::ptr::with_exposed_provenance::<c_char>(next);
        // SAFETY: `next` is below `end`, and behind a NUL or at `begin`: a string begins there,
        // and the range's last byte ends it.
        let string = unsafe { CStr::from_ptr(string) };
        next = string.to_bytes_with_nul().as_ptr_range().end.addr();
        strings.push(string);
    }
    strings
}

#[cfg(test)]
mod fuzz {
    use std::ffi::CString;

    use proptest::prelude::*;

    use super::strings_between;

    proptest! {
        #![proptest_config(crate::fuzz::config())]

        #[test]
        fn strings_that_lie_end_to_end_are_found_one_by_one(
            strings in prop::collection::vec(prop::collection::vec(1..=255_u8, 0..9), 0..9),
        ) {
            let area: Vec<u8> = strings.iter().flat_map(|string| [&string[..], b"\0"].concat()).collect();
            let begin = area.as_ptr().expose_provenance();
            // SAFETY: the range is that of `area`, which lives on and is empty or ends with NUL.
            let found = unsafe { strings_between(begin, begin + area.len()) };
            let found: Vec<CString> = found.into_iter().map(CString::from).collect();
            let expected: Result<Vec<CString>, _> = strings.into_iter().map(CString::new).collect();
            prop_assert_eq!(found, expected?);
        }
    }
}
