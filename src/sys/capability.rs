//! The capability sets of this thread, as bit masks: capget(2), capset(2) and the bounding set.
//!
//! Only `privilege` uses it, and says what the sets shall be.

use caps::Capability;
use libc::c_int;
use nix::errno::Errno;

/// The bit of one capability.
pub(super) const fn mask(capability: Capability) -> u64 {
    1 << capability as u8
}

/// The three sets that capset(2) sets at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sets {
    pub permitted: u64,
    pub effective: u64,
    pub inheritable: u64,
}

/// `struct __user_cap_header_struct`.
#[repr(C)]
struct Header {
    version: u32,
    pid: c_int,
}

/// `struct __user_cap_data_struct`: 32 bits of each set.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Half {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// `_LINUX_CAPABILITY_VERSION_3`, which has two halves; pid 0 is the calling thread.
const HEADER: Header = Header {
    version: 0x2008_0522,
    pid: 0,
};

impl Sets {
    /// Reads the sets: capget(2).
    pub fn read() -> Result<Self, Errno> {
        let mut header = HEADER;
        let mut halves = [Half::default(); 2];
        let (version, data) = (&raw mut header, halves.as_mut_ptr());
        // SAFETY: `header` asks for version 3, so the kernel writes two halves, and both are ours.
        let status = unsafe { libc::syscall(libc::SYS_capget, version, data) };
        Errno::result(status)?;
        let [low, high] = halves;
        let join = |high: u32, low: u32| u64::from(high) << 32 | u64::from(low);
        Ok(Self {
            permitted: join(high.permitted, low.permitted),
            effective: join(high.effective, low.effective),
            inheritable: join(high.inheritable, low.inheritable),
        })
    }

    /// Sets all three: capset(2). `EPERM` if the permitted set would grow.
    ///
    /// The ambient set shrinks with the inheritable one (`cap_capset()` in Linux
    /// `security/commoncap.c`).
    pub fn write(self) -> Result<(), Errno> {
        let half = |shift: u32| Half {
            effective: (self.effective >> shift) as u32,
            permitted: (self.permitted >> shift) as u32,
            inheritable: (self.inheritable >> shift) as u32,
        };
        let mut header = HEADER;
        let halves = [half(0), half(32)];
        let (version, data) = (&raw mut header, halves.as_ptr());
        // SAFETY: `header` asks for version 3, so the kernel reads two halves, and both are there.
        let status = unsafe { libc::syscall(libc::SYS_capset, version, data) };
        Errno::result(status).map(drop)
    }
}

/// Takes everything out of the bounding set but what the mask `keep` has: PR_CAPBSET_DROP.
///
/// Goes by the kernel's own numbers, since it may know capabilities that no crate knows yet.
/// Errors: `EPERM` without an effective CAP_SETPCAP.
pub(super) fn cut_bounding_set(keep: u64) -> Result<(), Errno> {
    let surplus = bounding_set()? & !keep;
    for number in (0..u64::BITS).filter(|number| surplus >> number & 1 == 1) {
        // SAFETY: this prctl takes a number and touches no memory of ours.
        let status = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, number, 0, 0, 0) };
        Errno::result(status)?;
    }
    Ok(())
}

/// The bounding set as a mask: PR_CAPBSET_READ, up to the last capability that the kernel knows.
pub(super) fn bounding_set() -> Result<u64, Errno> {
    let mut set = 0;
    for number in 0..u64::BITS {
        // SAFETY: this prctl takes a number and touches no memory of ours.
        let status = unsafe { libc::prctl(libc::PR_CAPBSET_READ, number, 0, 0, 0) };
        match Errno::result(status) {
            Ok(is_in) => set |= u64::from(is_in == 1) << number,
            // The kernel knows at least CAP_CHOWN, 0.
            Err(Errno::EINVAL) if number > 0 => break,
            Err(errno) => return Err(errno),
        }
    }
    Ok(set)
}
