//! What mounts may do, and what they hide.

use crate::table::Control::{Attacker, Root, There};
use crate::table::Outcome::{Refused, Says, WithAndWithout};
use crate::table::{ATTACK, Attack, Place};

/// Filesystems that forbid something each, with weapons on them.
const FLAGGED: &str = "for flag in nosuid nodev noexec ro none; do
        mount -t tmpfs -o mode=777 t $FIX/flags/$flag
        cp -a $FIX/weapons/setuid $FIX/weapons/zero $FIX/flags/$flag
        [ $flag = none ] || mount -o remount,bind,$flag $FIX/flags/$flag
    done";

/// Bait with something mounted over it.
const COVERED: &str = "cd $FIX/beneath
    for name in roots own 'a blank' 'a\nline'; do mount -t tmpfs t \"$name\"; done
    mount --bind other file; mount -t tmpfs t $FIX/os/beneath; cd /";

/// A root filesystem of the caller's own, to be written to.
macro_rules! own_os {
    ($script:literal) => {
        concat!(
            "os=$SCRATCH/os; mkdir $os; for name in dev proc tmp bin etc; do mkdir $os/$name; done
            cp $FIX/tools/busybox $os/bin/; ln -s busybox $os/bin/touch; ln -s busybox $os/bin/sh
            ",
            $script
        )
    };
}

/// Options of a tmpfs that the kernel would take, or not.
macro_rules! tmpfs_options {
    ($($options:literal: $reason:literal),* $(,)?) => {
        &[$((
            concat!("exec $SD -t '", $options, "' /mnt run true"),
            Refused(concat!("cannot mount a tmpfs on \"/mnt\": ", $reason)),
        )),*]
    };
}

const MASKED: &str = "cannot make a proc filesystem: Operation not permitted\n\
    hint: an outer container hides parts of /proc: docker run --security-opt systempaths=unconfined";
const NO_INSTANCE: &str = "without privilege there is no instance then";

pub const ATTACKS: &[Attack] = &[
    Attack {
        name: "what a filesystem forbids is forbidden on its clones",
        machine: FLAGGED,
        control: Attacker(
            "$FIX/flags/none/setuid | cut -d' ' -f1; $FIX/tools/tool node $FIX/flags/none/zero",
            "0\nworks",
        ),
        tries: &[(
            "for flag in nosuid nodev noexec ro none; do
                for option in -m -v; do
                    $SD $IN $option $FIX/flags/$flag /mnt run sh -c \
                        '/mnt/setuid 2>/dev/null || echo not executed; tool node /mnt/zero
                        (: >/mnt/new) 2>/dev/null && echo written; rm -f /mnt/new' | tr '\\n' ' '
                    echo $flag $option
                done
            done",
            Says(
                "$ME $ME 0000000000000000 works nosuid -m\n\
                 $ME $ME 0000000000000000 works written nosuid -v\n\
                 $ME $ME 0000000000000000 EACCES nodev -m\n\
                 $ME $ME 0000000000000000 EACCES written nodev -v\n\
                 not executed works noexec -m\n\
                 not executed works written noexec -v\n\
                 $ME $ME 0000000000000000 works ro -m\n\
                 $ME $ME 0000000000000000 works ro -v\n\
                 $ME $ME 0000000000000000 works none -m\n\
                 $ME $ME 0000000000000000 works written none -v",
            ),
        )],
        ..ATTACK
    },
    Attack {
        name: "a device node in a root filesystem stays closed",
        control: Attacker("$FIX/tools/tool node $FIX/os/bin/zero", "works"),
        tries: &[
            (
                "$SD -r $FIX/os -m $FIX/tools /mnt run /mnt/tool node /bin/zero",
                Says("EACCES"),
            ),
            (
                "$SD -r $FIX/os -m $FIX/tools /mnt build /mnt/tool node /bin/zero",
                Says("EACCES"),
            ),
            (
                "$SD -r $FIX/os -m $FIX/tools /mnt run /dev/selfdock -m /mnt /mnt run /mnt/tool node /bin/zero",
                Says("EACCES"),
            ),
        ],
        ..ATTACK
    },
    Attack {
        name: "nothing beneath a mount shows in a root or a map",
        machine: COVERED,
        control: Root(
            "umount $FIX/beneath/own $FIX/beneath/file $FIX/os/beneath
            $AS_ALICE $SD run grep -l bait $FIX/beneath/own/bait $FIX/beneath/file
            $AS_ALICE $SD -r $FIX/os run grep -l bait /beneath/bait",
            "$FIX/beneath/own/bait\n$FIX/beneath/file\n/beneath/bait",
        ),
        tries: &[(
            "for words in run build '-v / /mnt run' '-r / build' \"run $SD run\" \"$IN build $SD run\"; do
                $SD $words grep -rqs bait $FIX/beneath /mnt$FIX/beneath && echo found: $words
            done
            for words in run build 'run /dev/selfdock run'; do
                $SD -r $FIX/os $words grep -rqs bait /beneath && echo found: os $words
            done
            for option in -m -v; do
                $SD $option $FIX/beneath /mnt run grep -rqs bait /mnt && echo found: $option
            done; echo end",
            Says("end"),
        )],
        ..ATTACK
    },
    Attack {
        name: "a user namespace inside undoes neither cover nor read-only mount",
        machine: COVERED,
        control: There(
            "$SD $IN run unshare -Urm sh -c 'mount -t tmpfs t /tmp && umount /tmp && echo armed'",
            "armed",
        ),
        tries: &[(
            "$SD $IN run unshare -Urm sh -c 'for place in $FIX/beneath/own $FIX/beneath/file / /dev; do
                umount $place 2>/dev/null && echo umount $place
                umount -l $place 2>/dev/null && echo umount -l $place
                mount -o remount,bind,suid $place 2>/dev/null && echo suid $place
            done
            for flags in rw dev; do mount -o remount,bind,$flags / 2>/dev/null && echo / $flags; done
            for flags in rw exec; do mount -o remount,bind,$flags /dev 2>/dev/null && echo /dev $flags; done
            mount --rbind / /mnt 2>/dev/null; mount --move $FIX/beneath/own /tmp 2>/dev/null && echo move
            grep -rls bait $FIX/beneath /mnt$FIX/beneath; echo end'",
            Says("end"),
        )],
        ..ATTACK
    },
    Attack {
        name: "what is masked in the caller's /proc is masked inside",
        machine: "mount -t proc proc /proc; mount -t tmpfs t /proc/fs",
        control: Root(
            "umount /proc/fs; $AS_ALICE $SD run sh -c 'test -e /proc/version && echo whole'",
            "whole",
        ),
        tries: &[
            (
                "$SD run sh -c 'test -e /proc/version -o -e /proc/fs && echo whole; echo end'",
                // In a user namespace the kernel itself sees to it.
                WithAndWithout(&Says("end"), &Refused(MASKED)),
            ),
            (
                // Further inside there may be no user namespace either: what nobody can read of the
                // host's settings counts as forbidden.
                "$SD $IN run unshare -Urmpf sh -c 'mount -t proc p /mnt && ls /mnt/fs' 2>/dev/null; echo end",
                Says("end"),
            ),
        ],
        not_without: &[
            (Place::Inside, NO_INSTANCE),
            (Place::Deep, NO_INSTANCE),
            (Place::Hostile, NO_INSTANCE),
        ],
        ..ATTACK
    },
    Attack {
        name: "neither /sys nor anything else of the machine's is there unless asked for",
        machine: "[ -d /sys/kernel ] || mount -t sysfs sysfs /sys; mount -t tmpfs t /srv; mkdir /srv/inside",
        control: Attacker("ls -d /sys/kernel /srv/inside", "/srv/inside\n/sys/kernel"),
        tries: &[(
            "for way in run build \"run $SD run\"; do
                $SD $way ls /sys; $SD $way ls -d /srv/inside 2>/dev/null
            done; echo end",
            Says("end"),
        )],
        ..ATTACK
    },
    Attack {
        name: "nothing gets out to a machine whose mounts are shared",
        machine: "mount --make-rshared /",
        control: Root(
            "before=$(cat /proc/self/mountinfo)
            unshare --mount --propagation unchanged mount -t tmpfs t /mnt
            [ \"$before\" = \"$(cat /proc/self/mountinfo)\" ] || echo changed",
            "changed",
        ),
        tries: &[(
            "$SD -m $FIX/source /mnt -t size=4k /tmp run true
            $SD $IN build $SD $IN run true
            $SD -r $FIX/os -v $FIX/source /mnt build true
            $SD -m $FIX/source /mnt -m $FIX/source /missing run true 2>/dev/null
            $SD -m $FIX/source /mnt -m $FIX/source /proc run true 2>/dev/null
            $SD $IN -C /missing run true 2>/dev/null
            $SD $IN run $SD -t '' /missing run true 2>/dev/null
            $SD $IN run grep -c -e shared: -e master: /proc/self/mountinfo || :",
            Says("0"),
        )],
        ..ATTACK
    },
    Attack {
        name: "no terminal of the machine's is in /dev and no device can be made",
        control: Root("mknod $SCRATCH/null c 1 3; echo x >$SCRATCH/null && echo made", "made"),
        tries: &[
            ("$SD run ls /dev/pts", Says("ptmx")),
            (
                "for place in /dev /dev/shm /tmp /mnt; do
                    $SD -v $SCRATCH /mnt run mknod $place/null c 1 3 2>/dev/null && echo made in $place
                done; echo end",
                Says("end"),
            ),
        ],
        ..ATTACK
    },
    Attack {
        name: "a tmpfs takes only the options that are known",
        control: There("$SD -t size=4k,mode=700 /mnt run stat -c %a /mnt", "700"),
        tries: tmpfs_options!(
            "mode=4777": "bad value in \"mode=4777\": an octal number up to 1777",
            "mode=2777": "bad value in \"mode=2777\": an octal number up to 1777",
            "uid=0": "unknown option \"uid=0\"",
            "gid=0": "unknown option \"gid=0\"",
            "suid": "unknown option \"suid\"",
            "dev": "unknown option \"dev\"",
            "ro": "unknown option \"ro\"",
            "noswap": "unknown option \"noswap\"",
            "huge=always": "unknown option \"huge=always\"",
            "mpol=local": "unknown option \"mpol=local\"",
            "usrquota": "unknown option \"usrquota\"",
            "source=x": "unknown option \"source=x\"",
            "context=x": "unknown option \"context=x\"",
            "size=0": "bad value in \"size=0\": a number above 0 with one of k, m, g, or 1% to 50%",
            "size=-1": "bad value in \"size=-1\": a number above 0 with one of k, m, g, or 1% to 50%",
            "size=1000%": "bad value in \"size=1000%\": a number above 0 with one of k, m, g, or 1% to 50%",
            "size=1m,mode=4777": "bad value in \"mode=4777\": an octal number up to 1777",
            "nr_inodes=0": "bad value in \"nr_inodes=0\": a number from 1 to 1048576",
        ),
        ..ATTACK
    },
    Attack {
        name: "a read-only root cannot be written to by its owner",
        control: There(
            own_os!("$SD -r $os build touch /new /etc/new && ls $os/new $os/etc/new"),
            "$SCRATCH/os/etc/new\n$SCRATCH/os/new",
        ),
        tries: &[
            (
                own_os!(
                    "for place in / /etc /dev /bin /proc/sys/kernel; do
                        $SD -r $os run touch $place/new 2>/dev/null && echo $place
                    done; (: >/proc/sys/kernel/hostname) 2>/dev/null && echo hostname
                    ls $os; rm -r $os"
                ),
                Says("bin\ndev\netc\nproc\ntmp"),
            ),
            (
                own_os!(
                    "$SD -m $SCRATCH $SCRATCH run $SD -r $os build touch /new 2>/dev/null && echo written
                    $SD -r $os run /dev/selfdock build touch /new 2>/dev/null && echo written
                    ls $os; rm -r $os"
                ),
                Says("bin\ndev\netc\nproc\ntmp"),
            ),
        ],
        ..ATTACK
    },
    Attack {
        name: "build makes nothing writable that is root's",
control: Root("test -w $FIX/vault/open && echo writable", "writable"),
        tries: &[(
            "for way in build \"build $SD $IN build\"; do
                for place in / /usr $FIX $FIX/hall/room $FIX/weapons/setuid; do
                    $SD $IN $way sh -c \"(: >>$place/new) 2>/dev/null && echo written
                        chmod 777 $place 2>/dev/null && echo chmod; rm -r $place/x 2>/dev/null\"
                done
            done; echo end",
            Says("end"),
        )],
        not_in: &[(
            Place::Hostile,
            "all but the fixtures is the caller's own there, / included",
        )],
        ..ATTACK
    },
    Attack {
        name: "an image is not mounted, nor is a file put on a directory",
        control: Root("mount -t tmpfs t /mnt && echo mounted", "mounted"),
        tries: &[
            (
                "exec $SD -m $FIX/tools/busybox /mnt run true",
                Refused("cannot map \"$FIX/tools/busybox\" on \"/mnt\": Not a directory\n\
                    hint: \"/mnt\" is a directory, and the source is not"),
            ),
            (
                "exec $SD -r $FIX/tools/busybox run true",
                Refused("cannot use \"$FIX/tools/busybox\" as root filesystem: Not a directory"),
            ),
        ],
        ..ATTACK
    },
    Attack {
        name: "more mounts than there may be are refused at once",
        control: There(
            "$SD $(seq 100 | sed \"s|.*|-m $FIX/source /mnt|\") run echo ran",
            "ran",
        ),
        tries: &[(
            "exec $SD $(seq 4097 | sed \"s|.*|-m $FIX/source /mnt|\") run true",
            Refused("too many mount options: 4097, and at most 4096 are possible"),
        )],
        ..ATTACK
    },
];
